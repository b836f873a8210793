//! `/view/images`: the image cache, and who published what is in it.

use super::{LIST_DEFAULT, LIST_MAX, Looked};
use crate::images::{About, Trust};
use page::{Asked, Paging, Refusal};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Manifests whose publisher is remembered.
const KNOWN_MAX: usize = 4_096;

/// One image.
#[derive(Debug, Serialize)]
pub(super) struct ImageShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<u16>,
    digest: String,
    bytes: u32,
    uri: String,
    kind: &'static str,
    publisher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<usize>,
    /// Unix time of its last use since the gateway's start.
    last_used_ms: Option<u64>,
}

/// The publishers of manifests. A signature takes long to check: it is done outside the driver's step, and once.
#[derive(Clone)]
pub(super) struct Publishers {
    trust: Trust,
    known: Arc<Mutex<HashMap<[u8; 32], Option<String>>>>,
}

impl Publishers {
    pub fn new(trust: Trust) -> Self {
        Self { trust, known: Arc::default() }
    }

    fn of(&self, manifest: &[u8]) -> Option<String> {
        if manifest.is_empty() {
            return None;
        }
        let name: [u8; 32] = Sha256::digest(manifest).into();
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(publisher) = known().get(&name) {
            return publisher.clone();
        }
        let publisher = self.trust.publisher_of(manifest).map(str::to_owned);
        let mut known = known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name, publisher.clone());
        publisher
    }

    pub fn shown(&self, about: About) -> ImageShown {
        ImageShown {
            handle: None,
            digest: crate::images::hex(&about.digest),
            bytes: about.bytes,
            publisher: self.of(&about.manifest),
            uri: about.uri,
            kind: about.kind,
            tasks: None,
            last_used_ms: about.used_ms,
        }
    }
}

/// The cache as it is seen in the driver's step.
pub(super) struct Cache {
    bytes: u64,
    limit_bytes: u64,
    total: usize,
    page: Paging,
    images: Vec<(u16, About, usize)>,
}

#[derive(Debug, Serialize)]
pub(super) struct ImagesView {
    bytes: u64,
    limit_bytes: u64,
    total: usize,
    offset: usize,
    images: Vec<ImageShown>,
}

pub(super) fn page_of(asked: &Asked) -> Result<Paging, Refusal> {
    asked.query.paging(LIST_DEFAULT, LIST_MAX)
}

/// The page of the images; used last first.
pub(super) fn images(looked: &Looked<'_>, page: Paging) -> Cache {
    let mut tasks: BTreeMap<u16, usize> = BTreeMap::new();
    let here = looked.agents.glances().flat_map(|agent| agent.tasks());
    here.filter(|task| !task.has_ended())
        .filter_map(|task| task.image())
        .for_each(|image| *tasks.entry(image).or_default() += 1);
    let all: Vec<(Reverse<u64>, u16)> =
        looked.images.list().map(|(handle, used)| (Reverse(used), handle)).collect();
    let total = all.len();
    let shown = page.cut(all).into_iter().filter_map(|(_, handle)| {
        Some((handle, looked.images.about(handle)?, tasks.get(&handle).copied().unwrap_or(0)))
    });
    let (bytes, limit_bytes) = looked.images.size();
    Cache { bytes, limit_bytes, total, page, images: shown.collect() }
}

impl Cache {
    pub fn shown(self, publishers: &Publishers) -> ImagesView {
        let image = |(handle, about, tasks)| ImageShown {
            handle: Some(handle),
            tasks: Some(tasks),
            ..publishers.shown(about)
        };
        ImagesView {
            bytes: self.bytes,
            limit_bytes: self.limit_bytes,
            total: self.total,
            offset: self.page.offset,
            images: self.images.into_iter().map(image).collect(),
        }
    }
}
