//! Watches a file through every symbolic link on the way to it.
//!
//! Kubernetes never writes a mounted file: `config.yaml` links to `..data/config.yaml`, `..data` links to a dated folder, and an
//! update swaps `..data`. Editors rename too. So it is folders that are watched, and in them the names that the path goes through.
//!
//! What is watched for is the end of a write and not each part of it: a log that grows in the same folder must cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt;

/// A change is often several events: the file is read when none has come for this long.
const QUIET: Duration = Duration::from_millis(100);
/// Or when they have been coming for this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// As `ELOOP` in the kernel.
const LINKS_MAX: usize = 40;
/// Room for events of one read: some dozens.
const EVENTS: usize = 4 << 10;

/// A name in a folder.
type Place = (PathBuf, OsString);

/// The watch of some files. The kernel keeps few of such for a user, and this one as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    events: EventStream<[u8; EVENTS]>,
    /// What the paths go through now.
    places: BTreeSet<Place>,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    /// When the first change came of those that are not told yet, and the last.
    seen: Option<(Instant, Instant)>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(paths: &[PathBuf]) -> io::Result<Self> {
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let mut watch = Self {
            paths: paths.iter().map(absolute).collect::<Result<_, _>>()?,
            events: Inotify::init()?.into_event_stream([0; EVENTS])?,
            places: BTreeSet::new(),
            folders: BTreeMap::new(),
            seen: None,
        };
        watch.follow()?;
        Ok(watch)
    }

    /// Waits until something on the way to a file changed and then nothing for a moment. False: the watch has ended.
    /// Dropping the wait loses no change: the next one sees what came meanwhile.
    pub(crate) async fn changed(&mut self) -> bool {
        loop {
            let until = self
                .seen
                .map(|(first, last)| (first + PATIENCE).min(last + QUIET));
            let heard = match until {
                None => self.hear().await,
                Some(until) => match timeout_at(until, self.hear()).await {
                    Ok(heard) if Instant::now() < until => heard,
                    Ok(_) | Err(_) => break,
                },
            };
            if let Err(error) = heard {
                tracing::warn!(%error, path = self.first(), "files are watched no longer: reload by HUP");
                return false;
            }
        }
        self.seen = None;
        if let Err(error) = self.follow() {
            tracing::warn!(%error, path = self.first(), "the file cannot be watched: reload by HUP");
        }
        true
    }

    fn first(&self) -> Option<String> {
        self.paths.first().map(|path| path.display().to_string())
    }

    /// Waits for an event, and notes whether it is a change of ours.
    async fn hear(&mut self) -> io::Result<()> {
        let event = match self.events.next().await {
            Some(event) => event?,
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if self.concerns(&event) {
            let now = Instant::now();
            let first = self.seen.map_or(now, |(first, _)| first);
            self.seen = Some((first, now));
        }
        Ok(())
    }

    fn concerns(&self, event: &EventOwned) -> bool {
        // Something was lost: look, to be sure.
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return true;
        }
        let mut folders = self.folders.iter().filter(|(_, wd)| **wd == event.wd);
        match &event.name {
            // A watched folder itself moved or went.
            None => folders.next().is_some(),
            Some(name) => folders.any(|(folder, _)| {
                let place = (folder.clone(), name.clone());
                self.places.contains(&place)
            }),
        }
    }

    /// Watches the folders that the paths go through now, and no others.
    fn follow(&mut self) -> io::Result<()> {
        let what = WatchMask::ATTRIB
            | WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE
            | WatchMask::MOVE_SELF;
        self.places = self.paths.iter().flat_map(|path| places_of(path)).collect();
        let mut watches = self.events.watches();
        let mut folders = BTreeMap::new();
        let mut failed = None;
        for (folder, _) in &self.places {
            // Also those watched before: a folder deleted and made again has lost its watch.
            match watches.add(folder, what) {
                Ok(watch) => {
                    folders.insert(folder.clone(), watch);
                }
                Err(error) => failed = Some(error),
            }
        }
        let before = std::mem::replace(&mut self.folders, folders);
        for (_, gone) in before {
            if !self.folders.values().any(|watch| *watch == gone) {
                // It may be deleted already, and its watch with it.
                let _already_gone = watches.remove(gone);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Every name that an absolute path goes through and whose change would change the file: the file's own, and each link's.
fn places_of(path: &Path) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    let mut links = 0;
    let mut done = PathBuf::new();
    let mut todo: Vec<OsString> = parts(path);
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        match fs::read_link(&next) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                places.insert((done.clone(), part));
                if target.is_absolute() {
                    done = PathBuf::new();
                }
                todo.extend(parts(&target));
            }
            Ok(_) | Err(_) => {
                // The last part is the file. A part that is not there yet is waited for where it would appear.
                if todo.is_empty() || !next.exists() {
                    places.insert((done, part));
                    return places;
                }
                done = next;
            }
        }
    }
    places
}

/// A path's parts, the last first, so that they can be popped and a link's put in their place.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::CurDir => None,
            Component::RootDir | Component::ParentDir | Component::Normal(_) => {
                Some(part.as_os_str().to_owned())
            }
            Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    async fn expect_change(watch: &mut Watch, what: &str) {
        let seen = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await;
        assert_eq!(seen, Ok(true), "no change seen: {what}");
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test);
    }

    /// A file in a folder, and its watch.
    fn watched() -> (tempfile::TempDir, PathBuf, Watch) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let watch = Watch::new(std::slice::from_ref(&path)).unwrap();
        (root, path, watch)
    }

    /// A folder as Kubernetes makes it: config.yaml → ..data/config.yaml, ..data → ..1.
    fn kubernetes(root: &Path) -> PathBuf {
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/config.yaml"), "one").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/config.yaml", root.join("config.yaml")).unwrap();
        root.join("config.yaml")
    }

    fn swap(root: &Path, name: &str, content: &str) {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("config.yaml"), content).unwrap();
        symlink(name, root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
    }

    #[test]
    fn places_follow_every_link() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let path = kubernetes(&root);
        let expect: BTreeSet<Place> = [
            (root.clone(), "config.yaml".into()),
            (root.clone(), "..data".into()),
            (root.join("..1"), "config.yaml".into()),
        ]
        .into();
        assert_eq!(places_of(&path), expect);

        symlink("loop", root.join("loop")).unwrap();
        assert!(!places_of(&root.join("loop")).is_empty());
        let missing: BTreeSet<Place> = [(root.clone(), "none".into())].into();
        assert_eq!(places_of(&root.join("none/a.yaml")), missing);
    }

    #[test]
    fn a_swap_of_the_data_link_is_seen_each_time() {
        run(async {
            let root = tempfile::tempdir().unwrap();
            let path = kubernetes(root.path());
            let mut watch = Watch::new(std::slice::from_ref(&path)).unwrap();
            for (name, content) in [("..2", "two"), ("..3", "three")] {
                swap(root.path(), name, content);
                expect_change(&mut watch, name).await;
                assert_eq!(fs::read_to_string(&path).unwrap(), content);
            }
        });
    }

    #[test]
    fn a_write_and_a_rename_over_it_are_seen() {
        run(async {
            let (root, path, mut watch) = watched();
            fs::write(&path, "two").unwrap();
            expect_change(&mut watch, "write").await;
            fs::write(root.path().join("new"), "three").unwrap();
            fs::rename(root.path().join("new"), &path).unwrap();
            expect_change(&mut watch, "rename").await;
        });
    }

    #[test]
    fn other_files_of_the_folder_are_no_change() {
        run(async {
            let (root, path, mut watch) = watched();
            fs::write(root.path().join("access.log"), "line").unwrap();
            fs::write(&path, "two").unwrap();
            expect_change(&mut watch, "write").await;
            // Both writes came in order, so a change for the log would have been seen before.
            assert_eq!(watch.seen, None);
        });
    }

    #[test]
    fn a_file_that_grows_beside_wakes_nobody() {
        run(async {
            let (root, path, mut watch) = watched();
            let mut log = fs::File::create(root.path().join("access.log")).unwrap();
            for _ in 0..10 {
                log.write_all(b"line").unwrap();
            }
            fs::write(&path, "two").unwrap();
            // The log's lines came before, and of it there is its making alone.
            for name in ["access.log", "config.yaml"] {
                let event = watch.events.next().await.unwrap().unwrap();
                assert_eq!(event.name.unwrap(), name);
            }
        });
    }

    #[test]
    fn a_folder_made_again_is_watched_again() {
        run(async {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("conf");
            let path = folder.join("config.yaml");
            fs::create_dir(&folder).unwrap();
            fs::write(&path, "one").unwrap();
            let mut watch = Watch::new(std::slice::from_ref(&path)).unwrap();
            fs::remove_dir_all(&folder).unwrap();
            expect_change(&mut watch, "removal").await;
            fs::create_dir(&folder).unwrap();
            expect_change(&mut watch, "a new folder").await;
            fs::write(&path, "two").unwrap();
            expect_change(&mut watch, "a file in it").await;
        });
    }
}
