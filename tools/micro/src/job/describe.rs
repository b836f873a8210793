//! A job's document from a file and flags. What it means is the master's to say: flags are put where they belong, and
//! have the last word.

use crate::exit::Trouble;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

fn senseless<T>(why: impl Into<String>) -> Result<T> {
    Err(Trouble::Senseless(why.into()).into())
}

#[derive(clap::Args)]
pub struct Described {
    /// URI or path of a .wasm or .tbf image
    #[arg(required_unless_present = "file")]
    image: Option<String>,
    /// The job as JSON; flags have the last word. `-` reads standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Its id; made up if absent
    #[arg(long)]
    id: Option<String>,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// Whose share of the cluster it takes
    #[arg(long)]
    role: Option<String>,
    /// Higher ones are placed first
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    priority: Option<i32>,
    /// What else the agent fetches
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
    /// The image's exported function to call
    #[arg(long)]
    entry: Option<String>,
    /// KEY=VALUE for the task
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Share of a core
    #[arg(long)]
    cpus: Option<f64>,
    /// Memory, MB
    #[arg(long)]
    mem: Option<f64>,
    /// Flash or disk, MB
    #[arg(long)]
    disk: Option<f64>,
    /// LEDs
    #[arg(long)]
    leds: Option<f64>,
    /// Sensors
    #[arg(long)]
    sensors: Option<f64>,
    /// An amount of anything else that nodes offer
    #[arg(long, value_name = "NAME=AMOUNT")]
    resource: Vec<String>,
    /// What it may call, instead of the usual: log,message,sleep,time,sensor,led,kv
    #[arg(long, value_name = "NAMES")]
    capabilities: Option<String>,
    /// It begins again by itself when its node restarts
    #[arg(long)]
    resume: bool,
    /// The publisher's manifest of the image (micro task sign), if it does not lie beside it
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A label of the tasks
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Tasks at the same time
    #[arg(long, value_name = "N")]
    instances: Option<u32>,
    /// Where it may run, such as on=temp-sensor, unique=node, board!=lab, floor>=2, group-by=rack:3, max-per=rack:2
    #[arg(short, long, value_name = "TEXT")]
    constraint: Vec<String>,
    /// When a task that ended is begun again: never, on-failure or always
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// With --restart on-failure: how often
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// The wait after the first failure, such as 1s
    #[arg(long, value_name = "TIME")]
    backoff: Option<String>,
    /// How much longer each next wait is
    #[arg(long, value_name = "N")]
    backoff_factor: Option<f64>,
    /// The longest wait, such as 5m
    #[arg(long, value_name = "TIME")]
    backoff_max: Option<String>,
    /// Which part of a wait chance decides, 0 to 1
    #[arg(long, value_name = "SHARE")]
    backoff_jitter: Option<f64>,
    /// What runs for longer fails
    #[arg(long, value_name = "TIME")]
    max_completion_time: Option<String>,
    /// What a task that is killed has to come to an end
    #[arg(long, value_name = "TIME")]
    kill_grace: Option<String>,
    /// Run it again and again, so far apart
    #[arg(long, value_name = "TIME", conflicts_with = "cron")]
    every: Option<String>,
    /// Run it at these times, in UTC: MINUTE HOUR DAY MONTH WEEKDAY
    #[arg(long, value_name = "TEXT")]
    cron: Option<String>,
    /// What happens to a run that is due while another is under way: skip or allow
    #[arg(long, value_name = "WHAT")]
    overlap: Option<String>,
    /// How long it is remembered after its end
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    /// Arguments for the task
    #[arg(last = true)]
    args: Vec<String>,
}

impl Described {
    /// The document.
    pub fn document(&self) -> Result<Value> {
        let mut job = match &self.file {
            Some(file) => read(file)?,
            None => Map::new(),
        };
        if let Some(image) = &self.image {
            let uri = match image.contains("://") || image.starts_with("data:") {
                true => image.clone(),
                false => std::path::absolute(image)?.display().to_string(),
            };
            job.insert("image".into(), uri.into());
        }
        let id = || format!("job-{:08x}", rand::random::<u32>());
        let made_up = (!job.contains_key("id")).then(id);
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                job.insert(name.into(), value);
            }
        };
        put("id", self.id.clone().or(made_up).map(Value::from));
        put("name", self.name.clone().map(Value::from));
        put("role", self.role.clone().map(Value::from));
        put("priority", self.priority.map(Value::from));
        put("entry", self.entry.clone().map(Value::from));
        put("instances", self.instances.map(Value::from));
        put("max_completion_time", self.max_completion_time.clone().map(Value::from));
        put("kill_grace", self.kill_grace.clone().map(Value::from));
        put("ttl", self.ttl.clone().map(Value::from));
        put("uris", (!self.uri.is_empty()).then(|| json!(self.uri)));
        put("arguments", (!self.args.is_empty()).then(|| json!(self.args)));
        put("constraints", (!self.constraint.is_empty()).then(|| json!(self.constraint)));
        within(&mut job, "environment", pairs("--env", &self.env)?)?;
        within(&mut job, "labels", self.labels()?)?;
        self.resources(&mut job)?;
        let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::from);
        let number = |value: Option<f64>| value.map_or(Value::Null, Value::from);
        let retries = self.retries.map_or(Value::Null, Value::from);
        within(&mut job, "restart", given([("policy", text(&self.restart)), ("retries", retries)]))?;
        let backoff = [
            ("initial", text(&self.backoff)),
            ("factor", number(self.backoff_factor)),
            ("max", text(&self.backoff_max)),
            ("jitter", number(self.backoff_jitter)),
        ];
        within(&mut job, "backoff", given(backoff))?;
        let schedule =
            [("every", text(&self.every)), ("cron", text(&self.cron)), ("overlap", text(&self.overlap))];
        within(&mut job, "schedule", given(schedule))?;
        Ok(Value::Object(job))
    }

    fn labels(&self) -> Result<Map<String, Value>> {
        let mut labels = pairs("--label", &self.label)?;
        if let Some(names) = &self.capabilities {
            labels.insert(gateway::agent::CAPABILITY_LABEL.into(), names.clone().into());
        }
        if self.resume {
            labels.insert(gateway::agent::RESUME_LABEL.into(), "true".into());
        }
        if let Some(file) = &self.manifest {
            let bytes = std::fs::read(file).with_context(|| format!("--manifest {}", file.display()))?;
            let digits = match std::str::from_utf8(&bytes) {
                Ok(text) => text.trim().to_owned(),
                Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            labels.insert(gateway::agent::MANIFEST_LABEL.into(), digits.into());
        }
        Ok(labels)
    }

    fn resources(&self, job: &mut Map<String, Value>) -> Result<()> {
        let named = [
            ("cpus", self.cpus),
            ("mem", self.mem),
            ("disk", self.disk),
            ("leds", self.leds),
            ("sensors", self.sensors),
        ];
        let mut amounts = Map::new();
        for (name, value) in pairs("--resource", &self.resource)? {
            let amount = value.as_str().and_then(|text| text.parse::<f64>().ok());
            match amount.filter(|amount| amount.is_finite()) {
                Some(amount) => drop(amounts.insert(name, amount.into())),
                None => {
                    return senseless(format!("--resource {name}: expected NAME=AMOUNT, such as valves=2"));
                }
            }
        }
        for (name, amount) in named {
            if let Some(amount) = amount {
                amounts.insert(name.into(), amount.into());
            }
        }
        if !amounts.is_empty() && !job.contains_key("resources") {
            // One amount that is given is no reason to leave out the usual others.
            for (name, amount) in [("cpus", 0.1), ("mem", 0.016)] {
                amounts.entry(name).or_insert(amount.into());
            }
        }
        // None of something is said by leaving it out.
        amounts.retain(|_, amount| amount.as_f64() != Some(0.0));
        within(job, "resources", amounts)
    }
}

fn read(file: &PathBuf) -> Result<Map<String, Value>> {
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).context("standard input")?,
        false => std::fs::read_to_string(file).with_context(|| format!("--file {}", file.display()))?,
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(job)) => Ok(job),
        Ok(_) => senseless(format!("--file {}: expected an object, {{\"image\": ...}}", file.display())),
        Err(error) => senseless(format!("--file {}: {error}", file.display())),
    }
}

fn pairs(flag: &str, given: &[String]) -> Result<Map<String, Value>> {
    let mut pairs = Map::new();
    for pair in given {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => drop(pairs.insert(name.into(), value.into())),
            _ => return senseless(format!("{flag} {pair}: expected NAME=VALUE")),
        }
    }
    Ok(pairs)
}

/// What is there of these.
fn given<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.into(), value))
        .collect()
}

/// Puts fields into an object within the job.
fn within(job: &mut Map<String, Value>, name: &str, fields: Map<String, Value>) -> Result<()> {
    if fields.is_empty() {
        return Ok(());
    }
    match job.entry(name).or_insert_with(|| json!({})) {
        Value::Object(object) => object.extend(fields),
        _ => return senseless(format!("{name}: expected an object in the file")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        described: Described,
    }

    fn document(args: &str) -> Result<Value> {
        let args = ["x"].into_iter().chain(args.split_whitespace());
        Line::try_parse_from(args).map_err(anyhow::Error::from)?.described.document()
    }

    #[test]
    fn flags_go_where_they_belong_and_the_master_takes_the_document() {
        let args = "/x/blink.wasm --id blink --name lamp --role ops --priority -3 --uri http://h/a --entry go \
            --env K=v=w --cpus 0.5 --leds 1 --resource valves=2 --capabilities log,led --resume --label k=v \
            --instances 3 -c on=leds -c unique=node --restart on-failure --retries 4 --backoff 2s --backoff-factor 3 \
            --backoff-max 1m --backoff-jitter 0.5 --max-completion-time 10m --kill-grace 5s --every 15m \
            --overlap allow --ttl 2h -- a b";
        let job = document(args).unwrap();
        let spec = master::jobs::Spec::parse(job.to_string().as_bytes()).unwrap();
        let same: Value = serde_json::to_value(&spec).unwrap();
        assert_eq!(same["resources"], json!({"cpus": 0.5, "mem": 0.016, "leds": 1.0, "valves": 2.0}));
        assert_eq!(same["labels"], json!({"capabilities": "log,led", "k": "v", "resume": "true"}));
        assert_eq!(same["restart"], json!({"policy": "on-failure", "retries": 4}));
        assert_eq!(same["schedule"], json!({"every": "15m", "overlap": "allow"}));
        assert_eq!((&same["arguments"], &same["environment"]), (&json!(["a", "b"]), &json!({"K": "v=w"})));
        assert_eq!(
            (&same["priority"], &same["constraints"]),
            (&json!(-3), &json!(["on=leds", "unique=node"]))
        );
    }

    #[test]
    fn a_file_is_the_ground_and_flags_have_the_last_word() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("job.json");
        let text = json!({"id": "a", "image": "/x", "instances": 2, "resources": {"mem": 1.0}, "backoff": {"max": "9s"}});
        std::fs::write(&file, text.to_string()).unwrap();
        let job =
            document(&format!("--file {} --instances 5 --cpus 1 --backoff 3s", file.display())).unwrap();
        assert_eq!((&job["id"], &job["instances"]), (&json!("a"), &json!(5)));
        assert_eq!(job["resources"], json!({"mem": 1.0, "cpus": 1.0}));
        assert_eq!(job["backoff"], json!({"initial": "3s", "max": "9s"}));
        assert!(document("/x.wasm").unwrap()["id"].as_str().unwrap().starts_with("job-"));
        std::fs::write(&file, "[]").unwrap();
        for wrong in [format!("--file {}", file.display()), "/x --env K".into(), "/x --resource a=b".into()] {
            assert!(document(&wrong).unwrap_err().is::<Trouble>(), "{wrong}");
        }
        assert!(document("").is_err() && document("/x --every 1m --cron x").is_err());
    }
}
