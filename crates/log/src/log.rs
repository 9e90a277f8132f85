//! All topics under one folder. Opening it recovers what a crash left; the threads of group commit
//! live as long as it does. Two processes must not open the same folder: the engine holds a lock.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use common::{Clock, Disk, Error, Result};

use crate::commits::Commits;
use crate::compaction::Compaction;
use crate::config::{LogConfig, TopicConfig, check_name};
use crate::flusher::Flusher;
use crate::handles::Handles;
use crate::lock::{lock, read, write};
use crate::partition::{PartitionStats, Shared};
use crate::recovery::Recovery;
use crate::topic::{Meta, Topic, check_folders_free, finish_drop, partition_dir};

/// A folder of topics.
pub struct Log {
    pub(crate) dir: PathBuf,
    shared: Arc<Shared>,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while topics come and go. Within: topics whose folders could not be removed yet.
    pub(crate) half_dropped: Mutex<Vec<Meta>>,
}

impl Log {
    /// Opens the folder, creating it if need be, and says what had to be put right.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        config: LogConfig,
    ) -> Result<(Arc<Self>, Recovery)> {
        let commits = Commits::new();
        let interval = Duration::from_micros(config.commit_interval_us.max(0) as u64);
        let flusher = Flusher::start(interval, config.sync_threads, commits.clone())?;
        let handles = Arc::new(Handles::new(config.handles_max));
        let shared = Arc::new(Shared { disk, clock, config, handles, flusher, commits });
        let log = Self {
            dir: dir.to_path_buf(),
            shared,
            topics: RwLock::new(BTreeMap::new()),
            half_dropped: Mutex::new(vec![]),
        };
        let recovery = log.open_topics()?;
        Ok((Arc::new(log), recovery))
    }

    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Arc<Topic>> {
        check_name(name)?;
        config.check()?;
        let mut half_dropped = lock(&self.half_dropped);
        if read(&self.topics).contains_key(name) {
            return Err(Error::already_exists(format!("topic '{name}' exists already")));
        }
        while let Some(i) = half_dropped.iter().position(|m| m.name == name) {
            finish_drop(&self.shared, &self.dir, &half_dropped[i])
                .map_err(|e| e.context(format!("the earlier topic '{name}' is not removed")))?;
            half_dropped.swap_remove(i);
        }
        check_folders_free(&self.shared, &self.dir, name, 0..config.partitions)?;
        let meta = Meta::new(name, config);
        let topic = meta
            .store(&self.shared, &self.dir)
            .and_then(|()| {
                Topic::open(&self.shared, &self.dir, meta.clone(), &mut Recovery::default())
            })
            // Its description may be there all the same, and must go before the next try.
            .inspect_err(|_| half_dropped.push(meta))?;
        write(&self.topics).insert(name.to_string(), topic.clone());
        Ok(topic)
    }

    /// Removes a topic with all its records.
    pub fn drop_topic(&self, name: &str) -> Result<()> {
        let mut half_dropped = lock(&self.half_dropped);
        let meta = self.topic(name)?.begin_drop()?;
        write(&self.topics).remove(name);
        finish_drop(&self.shared, &self.dir, &meta).inspect_err(|_| half_dropped.push(meta))
    }

    pub fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        let topics = read(&self.topics);
        let found = topics.get(name).cloned();
        found.ok_or_else(|| Error::unknown("topic", name, topics.keys().map(String::as_str)))
    }

    /// All topics by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        read(&self.topics).values().cloned().collect()
    }

    /// Changes all settings of a topic; the number of partitions can only grow. Stored before it
    /// answers, and applied at once.
    pub fn alter(&self, name: &str, config: TopicConfig) -> Result<()> {
        let _admin = lock(&self.half_dropped);
        self.topic(name)?.alter(config)
    }

    /// To wait until something became durable anywhere.
    pub fn commits(&self) -> Commits {
        self.shared.commits.clone()
    }

    /// Syncs everything written by now, in the caller's thread.
    pub fn flush(&self) {
        let mut advanced = false;
        for topic in self.topics() {
            for partition in topic.partitions() {
                advanced |= partition.sync();
            }
        }
        if advanced {
            self.shared.commits.note();
        }
    }

    /// Closes segments that are older than their topics' `segment_us`, then removes what is older
    /// or more than the topics' retention allows. Returns the number of segments removed; a topic
    /// that fails does not keep the others from it.
    pub fn apply_retention(&self) -> Result<usize> {
        let mut removed = 0;
        let mut failure = None;
        for topic in self.topics() {
            match topic.apply_retention() {
                Ok(n) => removed += n,
                Err(e) => {
                    failure.get_or_insert(e.context(format!("retention of '{}'", topic.name())));
                }
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    /// Compacts the topics with cleanup policy `compact` (KIP-58), as far as enough of a partition
    /// is dirty. Takes as long as reading and writing that much; a topic that fails does not keep
    /// the others from it. To be called now and then, like `apply_retention`.
    pub fn apply_compaction(&self) -> Result<Compaction> {
        let mut done = Compaction::default();
        let mut failure = None;
        for topic in self.topics() {
            match topic.compact() {
                Ok(compaction) => done.add(compaction),
                Err(e) => {
                    failure.get_or_insert(e.context(format!("compaction of '{}'", topic.name())));
                }
            }
        }
        failure.map_or(Ok(done), Err)
    }

    /// Figures of all partitions, by topic and partition.
    pub fn stats(&self) -> Result<Vec<PartitionStats>> {
        self.topics().iter().flat_map(|t| t.partitions()).map(|p| p.stats()).collect()
    }

    /// Partitions of which segments are missing, as one error each.
    pub fn damage(&self) -> Vec<Error> {
        self.topics().iter().flat_map(|t| t.partitions()).filter_map(|p| p.damage()).collect()
    }

    /// Segments that hold an open file.
    pub fn handles(&self) -> usize {
        self.shared.handles.held()
    }

    /// Syncs everything, ends the threads; later appends are refused. Reading still works.
    pub fn close(&self) {
        self.shared.flusher.stop();
        for topic in self.topics() {
            for partition in topic.partitions() {
                partition.close();
            }
        }
        self.shared.commits.note();
    }

    fn open_topics(&self) -> Result<Recovery> {
        let disk = &*self.shared.disk;
        let topics_dir = self.dir.join("topics");
        let failed = |e| Error::io(format!("open '{}'", topics_dir.display()), e);
        disk.create_dir_all(&self.dir).map_err(failed)?;
        disk.create_dir_all(&topics_dir).map_err(failed)?;
        let mut recovery = Recovery::default();
        let mut known = HashSet::from([topics_dir.clone()]);
        let mut metas = vec![];
        for (name, is_dir) in disk.list(&topics_dir).map_err(failed)? {
            let path = topics_dir.join(&name);
            if is_dir || !name.ends_with(".json") {
                if name.ends_with(".json.new") {
                    disk.remove(&path).map_err(failed)?;
                }
                continue;
            }
            let meta = Meta::load(disk, &path)?;
            if meta.dropped {
                finish_drop(&self.shared, &self.dir, &meta)?;
                recovery.dropped.push(meta.name);
                continue;
            }
            let folders = 0..meta.config.partitions;
            known.extend(folders.map(|p| partition_dir(&self.dir, &meta.name, p)));
            metas.push(meta);
        }
        metas.sort_by(|a, b| a.name.cmp(&b.name));
        for opened in self.open_all(metas)? {
            let (topic, found) = opened?;
            recovery.partitions.extend(found.partitions);
            let name = topic.name().to_string();
            if write(&self.topics).insert(name.clone(), topic).is_some() {
                return Err(Error::corrupt(format!(
                    "two files in '{}' describe the topic '{name}'",
                    topics_dir.display()
                ))
                .hint("move the wrong one away"));
            }
        }
        for (name, is_dir) in disk.list(&self.dir).map_err(failed)? {
            let path = self.dir.join(name);
            if is_dir && !known.contains(&path) {
                tracing::warn!(dir = %path.display(), "this folder belongs to no topic");
                recovery.strangers.push(path);
            }
        }
        Ok(recovery)
    }
}

/// A topic, and what opening it had to put right.
type OpenedTopic = Result<(Arc<Topic>, Recovery)>;

impl Log {
    /// In their order, but side by side: to open them is to wait for the disk.
    fn open_all(&self, metas: Vec<Meta>) -> Result<Vec<OpenedTopic>> {
        let open = |meta: &Meta| {
            let mut recovery = Recovery::default();
            let topic = Topic::open(&self.shared, &self.dir, meta.clone(), &mut recovery)?;
            Ok((topic, recovery))
        };
        let threads = self.shared.config.sync_threads.min(metas.len());
        if threads < 2 {
            return Ok(metas.iter().map(open).collect());
        }
        let open_some = |metas: &[Meta]| metas.iter().map(open).collect::<Vec<_>>();
        thread::scope(|scope| {
            let parts = metas.chunks(metas.len().div_ceil(threads));
            let running: Vec<_> = parts.map(|part| scope.spawn(|| open_some(part))).collect();
            let mut opened = vec![];
            for part in running {
                let part = part.join();
                opened.extend(part.map_err(|_| Error::internal("opening a topic ended half-way"))?);
            }
            Ok(opened)
        })
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.dir.display())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}
