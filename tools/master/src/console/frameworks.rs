//! `/view/frameworks`.

use super::shape::{Amounts, amounts, sum};
use super::{LIST_DEFAULT, LIST_MAX};
use crate::core::MasterCore;
use crate::state::Framework;
use crate::sums::used_by;
use page::{Asked, Paging, Refusal};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct FrameworkShown {
    framework_id: String,
    name: String,
    user: String,
    principal: Option<String>,
    roles: Vec<String>,
    active: bool,
    connected: bool,
    tasks: usize,
    offers: usize,
    allocated: Amounts,
    registered_ms: u64,
    failover_timeout_s: f64,
}

#[derive(Debug, Serialize)]
struct Over {
    framework_id: String,
    name: String,
    user: String,
    registered_ms: u64,
    unregistered_ms: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct FrameworksShown {
    total: usize,
    matching: usize,
    offset: usize,
    frameworks: Vec<FrameworkShown>,
    /// The newest first.
    completed: Vec<Over>,
}

/// A question about frameworks.
pub(super) struct FrameworksQuery {
    text: String,
    page: Paging,
}

impl FrameworksQuery {
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let text = asked.query.text("q").unwrap_or_default().to_ascii_lowercase();
        Ok(Self { text, page: asked.query.paging(LIST_DEFAULT, LIST_MAX)? })
    }

    fn takes(&self, id: &str, framework: &Framework) -> bool {
        let mut texts = vec![id, &framework.info.name, &framework.info.user];
        texts.extend(framework.roles.iter().map(String::as_str));
        page::finds(&self.text, &texts)
    }
}

pub(super) fn frameworks(core: &MasterCore, query: &FrameworksQuery) -> FrameworksShown {
    let found = core.frameworks.iter().filter(|(id, framework)| query.takes(id, framework));
    let found: Vec<&str> = found.map(|(id, _)| id.as_str()).collect();
    let matching = found.len();
    let executors = core.executors();
    let shown = query.page.cut(found).into_iter().filter_map(|id| {
        let framework = core.frameworks.get(id)?;
        let own = executors.get(id).map_or(&[][..], |own| own.as_slice());
        let mut allocated = sum(&used_by(framework, &own.to_vec()));
        allocated.add(&sum(&core.offered(&framework.offers)));
        Some(FrameworkShown {
            framework_id: id.to_owned(),
            name: framework.info.name.clone(),
            user: framework.info.user.clone(),
            principal: framework.info.principal.clone(),
            roles: framework.roles.iter().cloned().collect(),
            active: framework.active,
            connected: framework.connected,
            tasks: framework.tasks.len(),
            offers: framework.offers.len(),
            allocated: amounts(&allocated),
            registered_ms: framework.registered_ms,
            failover_timeout_s: framework.info.failover_timeout(),
        })
    });
    let over = core.completed.iter().rev().take(LIST_MAX).map(|done| Over {
        framework_id: done.id.clone(),
        name: done.info.name.clone(),
        user: done.info.user.clone(),
        registered_ms: done.registered_ms,
        unregistered_ms: done.unregistered_ms,
    });
    FrameworksShown {
        total: core.frameworks.len(),
        matching,
        offset: query.page.offset,
        frameworks: shown.collect(),
        completed: over.collect(),
    }
}
