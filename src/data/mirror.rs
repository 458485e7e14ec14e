//! Where FashionMNIST is fetched from, and what must arrive.

/// How far a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The name of the file that is being fetched.
    pub file: &'static str,
    /// The bytes received so far, of all files that have to be fetched.
    pub received: u64,
    /// The bytes of all files that have to be fetched.
    pub total: u64,
}

/// A server that has the four files compressed with gzip, and what they must be.
///
/// The table is what makes plain HTTP safe: bytes that differ from it are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mirror<'a> {
    /// The address of the folder with the files, `http://…`, with or without a slash at its end.
    pub base_url: &'a str,
    /// The files `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`,
    /// `t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz`, in this order.
    pub files: [RemoteFile<'a>; 4],
}

/// What a file of a [`Mirror`] must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile<'a> {
    /// The size of the compressed file in bytes.
    pub bytes: u64,
    /// The SHA-256 of the compressed file in lower-case hexadecimal digits.
    pub sha256: &'a str,
    /// The SHA-256 of the decompressed content in lower-case hexadecimal digits.
    pub content_sha256: &'a str,
}

impl Mirror<'static> {
    /// The server of the data set's authors, as their repository names it.
    pub const OFFICIAL: Mirror<'static> = Mirror {
        base_url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        files: [
            RemoteFile {
                bytes: 26_421_880,
                sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                content_sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            },
            RemoteFile {
                bytes: 29_515,
                sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                content_sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            },
            RemoteFile {
                bytes: 4_422_102,
                sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                content_sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            },
            RemoteFile {
                bytes: 5_148,
                sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                content_sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ],
    };
}
