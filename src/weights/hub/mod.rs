//! Files of the Hugging Face hub, checked before anything uses them.
//!
//! [`Spec::fetch`](crate::Spec::fetch) takes files from here that have the SHA-256 the manifest
//! says, or else the checksum the hub announces; in the latter case one is demanded, too. The cache is the one of
//! Python's `huggingface_hub`, so that each finds what the other fetched.
//!
//! # When the network is used
//!
//! * A cached and verified file needs none: no request is made, whatever `HF_HUB_OFFLINE` says.
//! * A branch or tag that is cached means the commit that it meant when it was fetched; it is asked
//!   for again only if that commit's file is not cached. [`Hub::remove`] the repository to follow
//!   a branch that moved.
//! * `HF_HUB_OFFLINE=1`, or [`Hub::with_offline`], forbids all use of the network.
//!
//! # What is believed
//!
//! Bytes are received into a place of their own in the cache, and become part of it (by a rename)
//! only once their size and checksum are right. In the manifest is a SHA-256; the hub announces
//! that of a file in LFS or Xet, and of a small file in Git the SHA-1 of the Git blob. A file with
//! neither is refused. What became of a check is remembered with the file's size, times and inode;
//! as long as these stay, the next load costs one `stat`, and when they change the file is read
//! again. One that is not what it was is never used: with a network it is set aside and fetched
//! anew ([`Progress::Replaced`]), without it is an error.
//!
//! What other programs put into the cache is checked when it is first used, against the names of
//! the blobs, which are their checksums. Whoever may write to the cache may also write what is
//! remembered there: this finds damage and mistakes, and against an attacker with the user's own
//! rights only the SHA-256 of the manifest helps, with [`Hub::verify`].
//!
//! [`Hub::push`] goes the other way: files into a repository, all by one commit.

mod announce;
mod cache;
mod cache_error;
mod checksum;
mod error;
mod fetch;
mod fetch_error;
mod inventory;
mod lock;
mod push;
mod push_error;
mod receive;
mod repetition;
mod request;
mod results;
mod settings;
#[cfg(test)]
mod tests;
mod transfer;
mod verify;

pub(crate) use fetch_error::FetchError;
pub use push::{Push, PushFile, PushProgress, Pushed, PushedFile};
pub(crate) use request::{Pin, Request};
pub use results::{CachedFile, Outcome, Progress, Removed, Verification};
pub use settings::Hub;
