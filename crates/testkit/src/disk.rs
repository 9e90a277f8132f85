//! A disk in memory that behaves as badly as `common::Disk`'s contract allows: until `sync`,
//! written bytes are in the "page cache" only; a power cut keeps, drops or tears each of them by
//! itself; a power cut within a call leaves a changed name done or not done; a failed sync forgets
//! which bytes it did not write, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{Disk, DiskFile};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a power cut keeps or loses as one.
const SECTOR: u64 = 512;

/// How often each kind of fault has happened, so that a test can assert its own reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub power_cuts: u64,
    pub power_cuts_within_a_call: u64,
    pub kills: u64,
    pub writes_kept: u64,
    pub writes_dropped: u64,
    pub writes_torn: u64,
    pub names_kept: u64,
    pub names_lost: u64,
    pub refused_full: u64,
    pub refused_io: u64,
    pub syncs_failed: u64,
    pub bits_flipped: u64,
}

impl Counts {
    /// Each count with its name.
    pub fn all(&self) -> [(&'static str, u64); 12] {
        [
            ("power cuts", self.power_cuts),
            ("power cuts within a call", self.power_cuts_within_a_call),
            ("kills", self.kills),
            ("writes kept", self.writes_kept),
            ("writes dropped", self.writes_dropped),
            ("writes torn", self.writes_torn),
            ("names kept", self.names_kept),
            ("names lost", self.names_lost),
            ("refused, disk full", self.refused_full),
            ("refused, i/o error", self.refused_io),
            ("syncs failed", self.syncs_failed),
            ("bits flipped", self.bits_flipped),
        ]
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            power_cuts: self.power_cuts + other.power_cuts,
            power_cuts_within_a_call: self.power_cuts_within_a_call
                + other.power_cuts_within_a_call,
            kills: self.kills + other.kills,
            writes_kept: self.writes_kept + other.writes_kept,
            writes_dropped: self.writes_dropped + other.writes_dropped,
            writes_torn: self.writes_torn + other.writes_torn,
            names_kept: self.names_kept + other.names_kept,
            names_lost: self.names_lost + other.names_lost,
            refused_full: self.refused_full + other.refused_full,
            refused_io: self.refused_io + other.refused_io,
            syncs_failed: self.syncs_failed + other.syncs_failed,
            bits_flipped: self.bits_flipped + other.bits_flipped,
        }
    }
}

/// Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The process that uses this clone ends with this life; none for the test itself.
    life: Option<u64>,
}

struct State {
    rng: SmallRng,
    /// Handles opened before the last crash are dead.
    life: u64,
    is_on: bool,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    inodes: Vec<Inode>,
    /// Bytes that files may still grow by.
    free: Option<u64>,
    failing_writes: u32,
    failing_syncs: u32,
    failing_cuts: u32,
    /// Changing calls until the power is cut within one.
    power_cut_in: Option<u64>,
    counts: Counts,
}

#[derive(Default)]
struct Inode {
    /// On the platter.
    durable: Vec<u8>,
    /// As readers see it.
    current: Vec<u8>,
    /// What turns one into the other, in order.
    pending: Vec<Change>,
}

enum Change {
    Write { at: u64, bytes: Vec<u8> },
    SetLen(u64),
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let state = Arc::new(Mutex::new(State {
            rng: SmallRng::seed_from_u64(seed),
            life: 0,
            is_on: true,
            dirs: BTreeSet::new(),
            names: BTreeMap::new(),
            inodes: vec![],
            free: None,
            failing_writes: 0,
            failing_syncs: 0,
            failing_cuts: 0,
            power_cut_in: None,
            counts: Counts::default(),
        }));
        Self { state, life: None }
    }

    /// The disk as the process under test has it: dead after the next `crash` or `kill`.
    #[must_use]
    pub fn attach(&self) -> Self {
        Self { state: self.state.clone(), life: Some(self.state().life) }
    }

    /// The power goes and comes back: of what was not synced, each write is kept, dropped or torn
    /// by chance. Handles opened before are dead. Pending faults are forgotten, a full disk is not.
    pub fn crash(&self) {
        let mut state = self.state();
        state.counts.power_cuts += 1;
        let mode = state.rng.random_range(0..4);
        for i in 0..state.inodes.len() {
            let changes = std::mem::take(&mut state.inodes[i].pending);
            for change in changes {
                state.lose(i, change, mode);
            }
            let inode = &mut state.inodes[i];
            inode.current.clone_from(&inode.durable);
        }
        state.restart();
    }

    /// The process dies and comes back: nothing written is lost, handles are dead.
    pub fn kill(&self) {
        let mut state = self.state();
        state.counts.kills += 1;
        state.restart();
    }

    /// Cuts the power within the n-th changing call from now (0: the next one). All calls fail
    /// until `crash` brings the power back.
    pub fn cut_power_in(&self, calls: u64) {
        self.state().power_cut_in = Some(calls);
    }

    pub fn is_on(&self) -> bool {
        self.state().is_on
    }

    /// Bytes that files may still grow by; none is no limit.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.state().free = bytes;
    }

    /// The next writes fail half-way with an i/o error.
    pub fn fail_writes(&self, calls: u32) {
        self.state().failing_writes = calls;
    }

    /// The next syncs fail, and lose some of what they should have written.
    pub fn fail_syncs(&self, calls: u32) {
        self.state().failing_syncs = calls;
    }

    /// The next calls that cut or extend a file fail.
    pub fn fail_cuts(&self, calls: u32) {
        self.state().failing_cuts = calls;
    }

    /// Lets a bit rot, on the platter and in the cache; whether there was such a byte.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Some(inode) = state.names.get(path).copied() else {
            return false;
        };
        let inode = &mut state.inodes[inode];
        let mut found = false;
        for bytes in [&mut inode.durable, &mut inode.current] {
            if let Some(byte) = bytes.get_mut(position as usize) {
                *byte ^= 1 << (bit % 8);
                found = true;
            }
        }
        state.counts.bits_flipped += u64::from(found);
        found
    }

    /// All files with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let len = |inode: &usize| state.inodes[*inode].current.len() as u64;
        state.names.iter().map(|(path, inode)| (path.clone(), len(inode))).collect()
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restart(&mut self) {
        self.life += 1;
        self.is_on = true;
        self.failing_writes = 0;
        self.failing_syncs = 0;
        self.failing_cuts = 0;
        self.power_cut_in = None;
    }

    fn check_on(&self, life: u64) -> io::Result<()> {
        if self.is_on && self.life == life { Ok(()) } else { Err(power_is_off()) }
    }

    /// To be asked at each changing call: whether the power is cut within this one.
    fn is_cut_now(&mut self) -> bool {
        match &mut self.power_cut_in {
            Some(0) => {
                self.power_cut_in = None;
                self.is_on = false;
                self.counts.power_cuts_within_a_call += 1;
                true
            }
            Some(calls) => {
                *calls -= 1;
                false
            }
            None => false,
        }
    }

    /// For changes of names: goes on, or fails with the change done (`true`) or not.
    fn name_change(&mut self, life: u64) -> Result<(), (bool, io::Error)> {
        self.check_on(life).map_err(|e| (false, e))?;
        if !self.is_cut_now() {
            return Ok(());
        }
        let done: bool = self.rng.random();
        self.counts.names_kept += u64::from(done);
        self.counts.names_lost += u64::from(!done);
        Err((done, power_is_off()))
    }

    fn change(&mut self, inode: usize, change: Change) {
        let inode = &mut self.inodes[inode];
        apply(&mut inode.current, &change);
        inode.pending.push(change);
    }

    /// Takes `len` bytes at `at` of the free space; how many of the bytes fit.
    fn take_space(&mut self, inode: usize, at: u64, len: u64) -> u64 {
        let Some(free) = self.free else { return len };
        let now = self.inodes[inode].current.len() as u64;
        let fits = (now + free).saturating_sub(at).min(len);
        let growth = (at + fits).saturating_sub(now).min(free);
        self.free = Some(free - growth);
        fits
    }

    /// A write that fails after a part of it.
    fn write_partly(&mut self, inode: usize, bytes: &[u8], at: u64) {
        let part = self.rng.random_range(0..=bytes.len());
        if part > 0 {
            self.change(inode, Change::Write { at, bytes: bytes[..part].to_vec() });
        }
    }

    fn lose(&mut self, inode: usize, change: Change, mode: u32) {
        let fate = match mode {
            0 => 0,
            1 => 1,
            _ => self.rng.random_range(0..3),
        };
        match (fate, change) {
            (1, _) => self.counts.writes_dropped += 1,
            (2, Change::Write { at, bytes }) => {
                self.counts.writes_torn += 1;
                for (at, part) in self.tear(at, &bytes) {
                    let change = Change::Write { at, bytes: part };
                    apply(&mut self.inodes[inode].durable, &change);
                }
            }
            (_, change) => {
                self.counts.writes_kept += 1;
                apply(&mut self.inodes[inode].durable, &change);
            }
        }
    }

    /// A prefix, or some of the sectors.
    fn tear(&mut self, at: u64, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        if self.rng.random() {
            let part = self.rng.random_range(0..=bytes.len());
            return vec![(at, bytes[..part].to_vec())];
        }
        let mut parts = vec![];
        let mut from = 0;
        while from < bytes.len() {
            let to_border = (SECTOR - (at + from as u64) % SECTOR) as usize;
            let to = (from + to_border).min(bytes.len());
            if self.rng.random() {
                parts.push((at + from as u64, bytes[from..to].to_vec()));
            }
            from = to;
        }
        parts
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len as usize, 0),
        Change::Write { at, bytes: new } => {
            let (from, to) = (*at as usize, *at as usize + new.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(new);
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.check_on(self.life)?;
        let bytes = &state.inodes[self.inode].current;
        let from = (position as usize).min(bytes.len());
        let n = buffer.len().min(bytes.len() - from);
        buffer[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_on(self.life)?;
        if state.is_cut_now() {
            state.write_partly(self.inode, bytes, position);
            return Err(power_is_off());
        }
        if state.failing_writes > 0 {
            state.failing_writes -= 1;
            state.counts.refused_io += 1;
            state.write_partly(self.inode, bytes, position);
            return Err(io::Error::other("simulated i/o error"));
        }
        let fits = state.take_space(self.inode, position, bytes.len() as u64) as usize;
        if fits > 0 {
            let part = bytes[..fits].to_vec();
            state.change(self.inode, Change::Write { at: position, bytes: part });
        }
        if fits < bytes.len() {
            state.counts.refused_full += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_on(self.life)?;
        if state.is_cut_now() {
            return Err(power_is_off());
        }
        let changes = std::mem::take(&mut state.inodes[self.inode].pending);
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            state.counts.syncs_failed += 1;
            for change in changes {
                if state.rng.random() {
                    apply(&mut state.inodes[self.inode].durable, &change);
                }
            }
            return Err(io::Error::other("simulated i/o error"));
        }
        for change in changes {
            apply(&mut state.inodes[self.inode].durable, &change);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_on(self.life)?;
        Ok(state.inodes[self.inode].current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_on(self.life)?;
        if state.is_cut_now() {
            return Err(power_is_off());
        }
        if state.failing_cuts > 0 {
            state.failing_cuts -= 1;
            state.counts.refused_io += 1;
            return Err(io::Error::other("simulated i/o error"));
        }
        let now = state.inodes[self.inode].current.len() as u64;
        if let Some(free) = &mut state.free {
            *free += now.saturating_sub(len);
        }
        if len != now {
            state.change(self.inode, Change::SetLen(len));
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let life = self.life.unwrap_or(state.life);
        state.check_on(life)?;
        let handle = |inode| Ok(Arc::new(SimFile { disk: self.clone(), inode, life }) as _);
        if let Some(inode) = state.names.get(path) {
            return handle(*inode);
        }
        let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
        if !create || !state.dirs.contains(&parent) {
            return Err(ErrorKind::NotFound.into());
        }
        if state.free == Some(0) {
            state.counts.refused_full += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        let cut = state.name_change(life);
        if matches!(cut, Err((false, _))) {
            return cut.map_err(|(_, e)| e).and_then(|()| Err(power_is_off()));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_path_buf(), inode);
        cut.map_err(|(_, e)| e)?;
        handle(inode)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        let state = self.state();
        state.check_on(self.life.unwrap_or(state.life))?;
        if !state.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let within = |path: &&PathBuf| path.parent() == Some(dir);
        let name = |path: &PathBuf| {
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let files = state.names.keys().filter(within).map(|path| (name(path), false));
        let dirs = state.dirs.iter().filter(within).map(|path| (name(path), true));
        let mut names: Vec<_> = files.chain(dirs).collect();
        names.sort();
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = self.life.unwrap_or(state.life);
        let (done, result) = match state.name_change(life) {
            Ok(()) => (true, Ok(())),
            Err((done, e)) => (done, Err(e)),
        };
        if done {
            let gone = state.names.iter().filter(|(name, _)| name.starts_with(path));
            let bytes: usize = gone.map(|(_, inode)| state.inodes[*inode].current.len()).sum();
            if let Some(free) = &mut state.free {
                *free += bytes as u64;
            }
            state.names.retain(|name, _| !name.starts_with(path));
            state.dirs.retain(|name| !name.starts_with(path));
        }
        result
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = self.life.unwrap_or(state.life);
        state.check_on(life)?;
        if !state.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        let (done, result) = match state.name_change(life) {
            Ok(()) => (true, Ok(())),
            Err((done, e)) => (done, Err(e)),
        };
        if done && let Some(inode) = state.names.remove(from) {
            state.names.insert(to.to_path_buf(), inode);
        }
        result
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = self.life.unwrap_or(state.life);
        state.check_on(life)?;
        if state.dirs.contains(dir) {
            return Ok(());
        }
        if state.free == Some(0) {
            state.counts.refused_full += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        let (done, result) = match state.name_change(life) {
            Ok(()) => (true, Ok(())),
            Err((done, e)) => (done, Err(e)),
        };
        if done {
            state.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        }
        result
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
