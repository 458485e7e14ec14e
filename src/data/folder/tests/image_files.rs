//! The images of a folder, without labels.

use crate::data::folder::warning::FolderWarning;
use crate::data::{FolderOptions, ImageFiles};

#[test]
fn a_folder_without_classes_is_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("b/c")).unwrap();
    std::fs::create_dir_all(at(".git")).unwrap();
    for name in [
        "z.jpg",
        "a.PNG",
        "b/c/1.webp",
        "b/2.gif",
        ".git/x.png",
        ".y.png",
    ] {
        std::fs::write(at(name), "").unwrap();
    }
    for name in ["notes.txt", "b/more.txt", "LICENSE"] {
        std::fs::write(at(name), "").unwrap();
    }
    let options = FolderOptions::default();
    let found = ImageFiles::below(dir.path(), &options).unwrap();
    let names = ["a.PNG", "b/2.gif", "b/c/1.webp", "z.jpg"].map(at);
    assert_eq!(found.files, names);
    assert_eq!(found.left_out.hidden, 1);
    assert_eq!(found.left_out.junk[".git"], 1);
    assert_eq!(found.left_out.others["txt"], 2);
    assert_eq!(found.left_out.others[""], 1);
    assert!(found.broken.is_empty());
    let left_out = found.left_out.lines().join("\n");
    for named in ["2 .txt", "1 without extension", "hidden", "1 .git"] {
        assert!(left_out.contains(named), "{named} in {left_out}");
    }

    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("nowhere", at("gone.png")).unwrap();
        symlink(dir.path(), at("b/loop")).unwrap();
        let found = ImageFiles::below(dir.path(), &options).unwrap();
        assert_eq!(found.files, names, "each once");
        assert_eq!(found.broken.len(), 1);
        assert_eq!(found.broken[0].path, at("gone.png"));
        let path = at("b/loop");
        assert_eq!(found.warnings, [FolderWarning::SameFolder(path)]);
    }
    assert!(ImageFiles::below(at("none"), &options).is_err());
}
