//! Images between the fetcher's threads, the cache and the cores.

use super::*;

impl Driver {
    pub(super) fn fetched(&mut self, uri: &str, image: Result<Fetched, String>, writes: &mut Vec<Write>) {
        let waiting = self.fetching.remove(uri).unwrap_or_default();
        self.note_image(uri, &image);
        self.keep(uri, image, writes);
        for handle in waiting {
            // What is there now may be another image than the one of this handle.
            match self.images.load(handle) {
                Ok(bytes) => self.sessions.add_image(handle, bytes),
                Err(_) => {
                    tracing::warn!(handle, uri, "the image that a node fetches cannot be had any more");
                    self.sessions.no_image(handle);
                }
            }
        }
        self.start_fetches();
    }

    pub(super) fn keep(&mut self, uri: &str, image: Result<Fetched, String>, writes: &mut Vec<Write>) {
        let kept = image.and_then(|fetched| {
            let (image, more) = self
                .images
                .keep(uri, &fetched, || self.agents.images_needed())
                .map_err(|error| format!("{uri}: cannot be kept: {error}"))?;
            writes.extend(more);
            if !self.recent.iter().any(|(_, held, _)| held == uri) {
                if self.recent.len() >= RECENT_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back((Instant::now(), uri.to_owned(), fetched.clone()));
            }
            self.sessions.add_image(image.handle, fetched.bytes);
            Ok(image)
        });
        self.agents.image(uri, kept, self.now_ms());
    }

    /// An image that need not be fetched: the URI names its digest, or it has only just been there.
    pub(super) fn cached(&mut self, uri: &str) -> Option<Fetched> {
        self.recent.retain(|(at, ..)| at.elapsed() < FRESH);
        match self.recent.iter().find(|(_, held, _)| held == uri) {
            Some((.., fetched)) => Some(fetched.clone()),
            None => self.images.find(&images::demanded(uri)?),
        }
    }

    /// Brings an image that a node asks for into memory, from the cache or from where it came.
    pub(super) fn load(&mut self, handle: ImageHandle) {
        match self.images.load(handle) {
            Ok(bytes) => self.sessions.add_image(handle, bytes),
            Err(Some(uri)) => {
                let under_way = self.fetching.contains_key(&uri);
                self.fetching.entry(uri.clone()).or_default().insert(handle);
                if !under_way {
                    self.spawn_fetch(uri);
                }
            }
            Err(None) => self.sessions.no_image(handle),
        }
    }

    pub(super) fn start_fetches(&mut self) {
        while self.fetching.len() < FETCHES_MAX {
            let Some(uri) = self.queue.pop_front() else { return };
            if self.fetching.contains_key(&uri) {
                continue; // its waiters are served by the fetch under way
            }
            self.fetching.insert(uri.clone(), BTreeSet::new());
            self.spawn_fetch(uri);
        }
    }

    pub(super) fn spawn_fetch(&self, uri: String) {
        let (fetches, fetcher) = (self.fetches.clone(), self.fetcher.clone());
        tokio::task::spawn_blocking(move || {
            let image = fetcher.fetch(&uri).map_err(|error| error.to_string());
            let _ = fetches.send((uri, image)); // the gateway stops
        });
    }
}
