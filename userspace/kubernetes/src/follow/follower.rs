use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use naru_cluster::Contact;
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout_at},
};

use super::{
    Backoff, Entry, Kind, Known, News,
    backoff::below,
    known::Verdict,
    read::{list, with},
    watched,
};
use crate::api::{Address, Answer, Api, ApiError, Connection, Lines};

/// Age from which the end of a watch is no failure.
const LIVED: Duration = Duration::from_secs(10);

/// The known objects of a kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot<T> {
    /// The objects; `None` before the first list was taken.
    pub entries: Option<Arc<BTreeMap<String, Entry<T>>>>,
    /// The state of the store from which they come.
    pub revision: u64,
    /// The reason for which they may be out of date.
    pub failure: Option<ApiError>,
}

impl<T> Default for Snapshot<T> {
    fn default() -> Self {
        Self { entries: None, revision: 0, failure: None }
    }
}

/// Whoever is told what is known of a kind of objects.
pub trait Listener<T>: Send {
    /// Everything that is known, and what of it is news. Called at every word of the store, with news or without.
    fn told(&mut self, known: &Known<T>, news: News<T>);

    /// The reason for which it may not be what is now.
    fn failed(&mut self, error: ApiError);
}

impl<T: Kind> Listener<T> for watch::Sender<Snapshot<T>> {
    fn told(&mut self, known: &Known<T>, news: News<T>) {
        self.send_if_modified(|told| {
            let is_same = told.entries.is_some() && news.is_empty();
            let is_news = !is_same || told.failure.is_some();
            // The state that the entries come from is not a later one in which they are the same.
            if !is_same {
                told.entries = Some(Arc::new(known.entries().clone()));
                told.revision = known.position();
            }
            told.failure = None;
            is_news
        });
    }

    fn failed(&mut self, error: ApiError) {
        self.send_if_modified(|known| {
            let error = Some(error);
            let is_news = known.failure != error;
            known.failure = error;
            is_news
        });
    }
}

/// Longest time for which a server keeps a watch. It ends one at its own will after half an hour to an hour otherwise;
/// a lost connection is noticed by missed bookmarks long before.
const WATCH_SECONDS: u32 = 7_200;

/// Follows all objects of a kind.
pub struct Follower<T, L> {
    api: Arc<Api>,
    /// The objects, with a selector where not all are wanted.
    path: &'static str,
    known: Known<T>,
    contact: Contact,
    listener: L,
    /// True if a list must come before the next watch.
    wants_list: bool,
    resync: Instant,
}

impl<T: Kind, L: Listener<T>> Follower<T, L> {
    /// Follows what is below `path`; tells `listener` of changes and `contact` of every word.
    pub fn new(api: Arc<Api>, path: &'static str, known: Known<T>, contact: Contact, listener: L) -> Self {
        Self { api, path, known, contact, listener, wants_list: true, resync: Instant::now() }
    }

    /// Follows for ever.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let Err(error) = self.round(&mut backoff).await else { continue };
            if error.is_expired() {
                self.wants_list = true;
            }
            if began.elapsed() >= LIVED {
                backoff.reset();
            }
            let pause = backoff.next(error.after());
            // The end of a connection is no news as long as the next one succeeds.
            if backoff.failures() > 1 || !self.known.is_listed() {
                self.listener.failed(error);
            }
            sleep(pause).await;
        }
    }

    /// Reads a list if one is needed, and watches until the watch ends.
    async fn round(&mut self, backoff: &mut Backoff) -> Result<(), ApiError> {
        let mut connection = self.api.connect().await?;
        if self.wants_list {
            match self.list(&mut connection).await? {
                Verdict::Doubted => {
                    // Another server may know better.
                    self.api.avoid(connection.address());
                    drop(connection);
                    let again = self.known.pace().again;
                    sleep(again + below(again)).await;
                    return Ok(());
                }
                Verdict::Taken => self.wants_list = false,
            }
        }
        let path = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
            self.known.position()
        );
        let answer = connection.get(&with(self.path, &path)).await?;
        self.tell();
        backoff.reset();
        let address = connection.address().clone();
        self.watch(answer, &address).await
    }

    async fn list(&mut self, connection: &mut Connection) -> Result<Verdict, ApiError> {
        let listing = list(connection, self.path).await?;
        let verdict = self.known.listed(listing, Instant::now());
        self.resync = self.next_resync();
        if verdict == Verdict::Taken {
            self.tell();
        }
        Ok(verdict)
    }

    /// Takes events until the watch ends.
    async fn watch(&mut self, mut answer: Answer, address: &Address) -> Result<(), ApiError> {
        let mut lines = Lines::default();
        let silence = self.known.pace().silence;
        let mut silent = Instant::now() + silence;
        loop {
            let piece = tokio::select! {
                piece = timeout_at(silent.into(), answer.piece()) => piece,
                () = sleep_until(self.resync.into()) => {
                    self.compare().await?;
                    continue;
                }
            };
            let Ok(piece) = piece else {
                self.api.avoid(address);
                let reason = format!("the watch was silent for {} seconds", silence.as_secs());
                return Err(ApiError::Connection { address: address.clone(), reason });
            };
            // The server ends a watch after some time, and the next one goes on from there.
            let Some(piece) = piece? else { return Ok(()) };
            silent = Instant::now() + silence;
            let is_finite = lines.push(&piece, |line| watched::take(line, &mut self.known, address));
            self.tell();
            if !is_finite? {
                let reason = "an event without end".to_owned();
                return Err(ApiError::Nonsense { address: address.clone(), reason });
            }
        }
    }

    fn next_resync(&self) -> Instant {
        let period = self.known.pace().resync;
        Instant::now() + period - below(period / 10)
    }

    /// Lists beside the watch, as events may have been lost. A doubted list is read again before the next watch.
    async fn compare(&mut self) -> Result<(), ApiError> {
        self.resync = self.next_resync();
        let mut connection = self.api.connect().await?;
        if self.list(&mut connection).await? == Verdict::Doubted {
            self.wants_list = true;
            let reason = "its list says what no event said; it is read again".to_owned();
            return Err(ApiError::Nonsense { address: connection.address().clone(), reason });
        }
        Ok(())
    }

    /// Tells what is known.
    fn tell(&mut self) {
        self.contact.hear();
        if self.known.is_listed() {
            let news = self.known.take_news();
            self.listener.told(&self.known, news);
        }
    }
}
