//! Programs on the host: whole or not at all, and only where they differ.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use naru_install::programs::{Installed, Program, install};

fn image() -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    fs::write(image.path().join("naru-cni"), vec![7; 200_000]).unwrap();
    image
}

fn open(image: &Path) -> Vec<Program> {
    vec![Program::open(image, "naru-cni").unwrap()]
}

#[test]
fn a_program_is_written_once_and_again_where_a_byte_or_its_mode_differs() {
    let (image, host) = (image(), tempfile::tempdir().unwrap());
    let bin = host.path().join("opt/cni/bin");
    let place = bin.join("naru-cni");
    let mut programs = open(image.path());
    let mut once = || install(&mut programs, std::slice::from_ref(&bin)).unwrap().1[0];
    assert_eq!(once(), Installed::Written);
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o755);
    let inode = fs::metadata(&place).unwrap().ino();
    assert_eq!(once(), Installed::Same);
    assert_eq!(fs::metadata(&place).unwrap().ino(), inode);
    fs::set_permissions(&place, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(once(), Installed::Written);
    for spoil in [vec![7; 199_999], [vec![7; 150_000], vec![8], vec![7; 49_999]].concat(), Vec::new()] {
        fs::write(&place, spoil).unwrap();
        assert_eq!(once(), Installed::Written);
        assert_eq!(fs::read(&place).unwrap(), vec![7; 200_000]);
    }
    assert_eq!(fs::read_dir(&bin).unwrap().count(), 1, "no draft stays");
}

#[test]
fn a_program_that_runs_is_replaced_and_not_written_into() {
    let (image, host) = (image(), tempfile::tempdir().unwrap());
    let place = host.path().join("naru-cni");
    fs::copy("/bin/sleep", &place).unwrap();
    let mut running = std::process::Command::new(&place).arg("60").spawn().unwrap();
    let (_, installed) = install(&mut open(image.path()), &[host.path().to_owned()]).unwrap();
    assert_eq!(installed, [Installed::Written]);
    assert!(running.try_wait().unwrap().is_none());
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn of_several_directories_the_first_that_takes_them_does() {
    let (image, host) = (image(), tempfile::tempdir().unwrap());
    let (file, absent, there) =
        (host.path().join("file"), host.path().join("absent"), host.path().join("there"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&there).unwrap();
    let chosen = |directories: &[&Path]| {
        let directories: Vec<_> = directories.iter().map(|path| (*path).to_owned()).collect();
        install(&mut open(image.path()), &directories).map(|(chosen, _)| chosen)
    };
    assert_eq!(chosen(&[&absent, &there]).unwrap(), there);
    assert_eq!(chosen(&[&file.join("below"), &absent]).unwrap(), absent);
    let error = chosen(&[&file]).unwrap_err();
    assert!(error.to_string().starts_with(file.to_str().unwrap()), "{error}");
    assert!(install(&mut open(image.path()), &[]).is_err());
}

#[test]
fn a_directory_in_the_programs_place_is_named_and_stays() {
    let (image, host) = (image(), tempfile::tempdir().unwrap());
    fs::create_dir_all(host.path().join("naru-cni/full")).unwrap();
    let error = install(&mut open(image.path()), &[host.path().to_owned()]).unwrap_err();
    assert!(error.to_string().contains("naru-cni"), "{error}");
    assert!(host.path().join("naru-cni/full").is_dir());
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 1);
}
