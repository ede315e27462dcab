//! Changes of a file by inotify, however it is replaced: by rename, behind a symbolic link (a `ConfigMap`'s `..data`),
//! with a directory above it, or by appearing with directories that are not there yet.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// Events after which a name in a directory may mean another file.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);
/// Events after which the content of a file in the directory, or the right to read it, may have changed.
const CONTENT: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);
/// The watch itself ended, or events were lost.
const ENDED: ReadFlags = ReadFlags::IGNORED.union(ReadFlags::UNMOUNT).union(ReadFlags::QUEUE_OVERFLOW);
/// Limit of symbolic links on the way to the file, the same as the kernel's.
const LINKS: usize = 40;

/// Watches on every directory that the path leads through, links resolved.
pub struct FileWatch {
    inotify: OwnedFd,
    /// The names that matter in each directory, by watch.
    names: BTreeMap<i32, BTreeSet<OsString>>,
    /// The directory in which every name matters.
    every: Option<i32>,
    is_whole: bool,
}

impl FileWatch {
    /// Watches the path as it leads now, as far as it exists. A directory is watched before its contents are looked at,
    /// so that a change meanwhile is announced too.
    ///
    /// # Errors
    /// The kernel gives no inotify instance.
    pub fn over(file: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut watch = Self { inotify, names: BTreeMap::new(), every: None, is_whole: true };
        watch.walk(&std::path::absolute(file)?);
        Ok(watch)
    }

    /// Watches the path of a directory, and everything that is directly in it.
    ///
    /// # Errors
    /// The kernel gives no inotify instance.
    pub fn over_directory(directory: &Path) -> io::Result<Self> {
        let mut watch = Self::over(directory)?;
        match inotify::add_watch(&watch.inotify, directory, NAMES | CONTENT) {
            Ok(every) => watch.every = Some(every),
            Err(_) => watch.is_whole = false,
        }
        Ok(watch)
    }

    /// Returns true if every directory on the way is watched.
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn walk(&mut self, file: &Path) {
        let mut left: VecDeque<OsString> = names_of(file);
        let mut directory = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                directory.pop();
                continue;
            }
            self.add(&directory, NAMES, &name);
            let next = directory.join(&name);
            let Ok(metadata) = next.symlink_metadata() else { return };
            if metadata.is_symlink() && links < LINKS {
                let Ok(target) = next.read_link() else { return };
                links += 1;
                if target.is_absolute() {
                    directory = PathBuf::from("/");
                }
                names_of(&target).into_iter().rev().for_each(|part| left.push_front(part));
            } else if metadata.is_dir() {
                directory = next;
            } else {
                self.add(&directory, CONTENT, &name);
                return;
            }
        }
    }

    fn add(&mut self, directory: &Path, what: WatchFlags, name: &OsStr) {
        match inotify::add_watch(&self.inotify, directory, what) {
            Ok(watch) => drop(self.names.entry(watch).or_default().insert(name.to_owned())),
            Err(_) => self.is_whole = false,
        }
    }

    /// Returns when something on the path has changed; never, if the socket cannot be waited for.
    pub async fn changed(self) {
        // SAFETY: the descriptor is owned by what is registered, and nothing replaces or closes it before.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        let Ok(readable) = registered else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            if readable.get_ref().take_events() {
                return;
            }
            ready.clear_ready();
        }
    }

    /// Reads all announcements. Returns true if any of them concerns the path.
    fn take_events(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.inotify.as_fd(), &mut buffer);
        let mut is_concerned = false;
        loop {
            match reader.next() {
                Ok(event) => is_concerned |= self.concerns(&event),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return is_concerned,
                Err(_) => return true,
            }
        }
    }

    fn concerns(&self, event: &inotify::Event<'_>) -> bool {
        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
        let is_named =
            || name.is_some_and(|name| self.names.get(&event.wd()).is_some_and(|names| names.contains(name)));
        event.events().intersects(ENDED) || self.every == Some(event.wd()) || is_named()
    }
}

impl AsRawFd for FileWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// The names of a path and its `..`, in order.
fn names_of(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}
