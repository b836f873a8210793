//! Settings of a gateway.

use super::*;

/// Two AA cells.
pub const BATTERY_MAH: f64 = 2_500.0;

/// Settings of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen for the master and for operators.
    pub listen: SocketAddr,
    /// Address that the master reaches this gateway by, if it is another one.
    pub advertise: Option<SocketAddrV4>,
    /// Begin with new agents if the master knows these at another address or by other hostnames.
    pub new_agents: bool,
    /// Where to learn who leads.
    pub master: MasterSpec,
    /// The way to the nodes.
    pub link: LinkConfig,
    /// Directory of the store and the image cache.
    pub state: PathBuf,
    /// Put after a node's EUI-64 to make its hostname.
    pub domain: String,
    /// Leases, polls, CoAP.
    pub sessions: session::Config,
    /// The nodes' keys; not used where [`session::Config::insecure`] is set.
    pub keys: KeySource,
    /// What to prove to the master before registering, if anything.
    pub credential: Option<Credential>,
    /// What the operator says of nodes' resources and attributes.
    pub offers: Offers,
    /// Encrypts the connections with the master and with operators.
    pub tls: Option<Tls>,
    /// Whose images are launched.
    pub trust: Trust,
    /// Bytes of images on disk.
    pub image_cache: u64,
    /// File of the token that opens what is the gateway's own to operators; made if it is not there. Without one a
    /// token is asked for only if others than this machine reach the port, and is in `token` in the state directory.
    pub token_file: Option<PathBuf>,
    /// Capacity of a node's battery, milliampere hours, for the estimate of how long it lasts.
    pub battery_mah: f64,
}

impl Config {
    /// A gateway without credential, TLS or trusted publishers, with the nodes' keys in `nodes.keys` beside its store
    /// and everything else as usual.
    pub fn new(listen: SocketAddr, master: MasterSpec, link: LinkConfig, state: PathBuf) -> Self {
        Self {
            keys: KeySource::File(state.join("nodes.keys")),
            listen,
            advertise: None,
            new_agents: false,
            master,
            link,
            state,
            domain: "micro".into(),
            sessions: session::Config::default(),
            credential: None,
            offers: Offers::default(),
            tls: None,
            trust: Trust::default(),
            image_cache: images::CACHE_BYTES,
            token_file: None,
            battery_mah: BATTERY_MAH,
        }
    }
}
