//! The jobs' end of the driver: a scheduler that has its subscription, its calls and its events in the same process. It
//! passes on and decides nothing; what leaves the process leaves after the commit of its step, as everything else.

use crate::core;
use crate::jobs::{self, Jobs, JobsConfig, Reply};
use crate::store::{Records, Unreadable};
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;

/// The number of all calls of the jobs: they want no answer.
const CALL: u64 = 0;
/// How long the jobs' framework is kept while nobody is subscribed for it: until the jobs are back. Seconds.
const FAILOVER_S: f64 = 7.0 * 86_400.0;

/// The jobs, and who asked them something.
pub(crate) struct Local {
    jobs: Jobs,
    stream: Option<String>,
    inputs: VecDeque<jobs::Input>,
    answers: HashMap<u64, oneshot::Sender<Reply>>,
    asked: u64,
}

impl Local {
    /// The jobs as they were kept; `durable` if they will be.
    pub fn new(master: &str, durable: bool, kept: &Records, now_ms: u64) -> Result<Self, Unreadable> {
        let config = JobsConfig {
            framework: format!("{master}-jobs"),
            user: std::env::var("USER").unwrap_or_else(|_| "root".into()),
            failover_s: if durable { FAILOVER_S } else { 0.0 },
            seed: uuid::Uuid::new_v4().as_u64_pair().0,
        };
        let jobs = Jobs::new(config, kept, now_ms)?;
        // Jobs that were kept want a subscription at once.
        let inputs = VecDeque::from([jobs::Input::Tick]);
        Ok(Self { jobs, stream: None, inputs, answers: HashMap::new(), asked: 0 })
    }

    /// When a step is next needed.
    pub fn next_wakeup_ms(&self) -> u64 {
        self.jobs.next_wakeup_ms()
    }

    /// An operator's request, for the next step.
    pub fn ask(&mut self, request: jobs::Request, answer: oneshot::Sender<Reply>) {
        self.asked += 1;
        self.answers.insert(self.asked, answer);
        self.inputs.push_back(jobs::Input::Request(self.asked, request));
    }

    /// Keeps what the master says to the jobs for [`Self::turn`]; gives back what it says to others.
    pub fn take(&mut self, output: core::Output) -> Option<core::Output> {
        use core::Output;
        match output {
            Output::Subscribed { request: CALL, stream } => self.stream = Some(stream),
            Output::Reply { request: CALL, status, reason } => {
                if status >= 400 {
                    tracing::error!(status, reason, "the master refuses a call of the jobs");
                }
            }
            Output::Event { stream, event } if self.stream.as_ref() == Some(&stream) => {
                self.inputs.push_back(jobs::Input::Event(event));
            }
            Output::Close { stream } if self.stream.as_ref() == Some(&stream) => {
                self.stream = None;
                self.inputs.push_back(jobs::Input::Closed);
            }
            other => return Some(other),
        }
        None
    }

    /// Has the jobs take what there is for them.
    pub fn turn(&mut self, now_ms: u64) -> Vec<jobs::Output> {
        if self.inputs.is_empty() && self.jobs.next_wakeup_ms() <= now_ms {
            self.inputs.push_back(jobs::Input::Tick);
        }
        let mut outputs = Vec::new();
        for input in self.inputs.drain(..) {
            outputs.extend(self.jobs.handle(input, now_ms));
        }
        outputs
    }

    /// A call of the jobs, as any scheduler's.
    pub fn call(&self, call: Box<mesos_proto::v1::scheduler::Call>) -> core::Input {
        use mesos_proto::v1::scheduler::call::Type;
        let stream = if call.r#type() == Type::Subscribe { None } else { self.stream.clone() };
        core::Input::Call { request: CALL, stream, fresh: uuid::Uuid::new_v4().to_string(), call }
    }

    /// Gives an answer.
    pub fn answer(&mut self, number: u64, reply: Reply) {
        if let Some(answer) = self.answers.remove(&number) {
            // Whoever asked may be gone.
            let _ = answer.send(reply);
        }
    }
}
