//! Every message but a block fits one frame, and survives the round trip.

use node_proto::{limits::*, *};
use proptest::{collection::vec, prelude::*};

fn text<const N: usize>() -> impl Strategy<Value = heapless::String<N>> {
    vec(proptest::char::any(), 0..=N).prop_map(|chars| {
        let mut text = heapless::String::new();
        for c in chars {
            let _ = text.push(c); // stops taking when full
        }
        text
    })
}

fn bytes<const N: usize>() -> impl Strategy<Value = heapless::Vec<u8, N>> {
    vec(any::<u8>(), 0..=N).prop_map(|v| heapless::Vec::from_slice(&v).unwrap())
}

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![Just(Power::Mains), any::<u8>().prop_map(Power::Battery)]
}

prop_compose! {
    fn inventory()(cpu_permille: u16, mem_bytes: u32, flash_bytes: u32, sensors: u8, leds: u8, power in power(),
        arch in prop_oneof![Just(Arch::Host), Just(Arch::Thumbv7em), Just(Arch::Riscv32imac)],
        runtimes: u8, block_szx: u8, board in text()) -> Inventory {
        Inventory { cpu_permille, mem_bytes, flash_bytes, sensors, leds, power, arch,
            runtimes: Runtimes(runtimes), block_szx, board }
    }
}

prop_compose! {
    fn register()(version: u8, eui64: [u8; 8], boot: u32, epoch: u16, seen: u32, inventory in inventory()) -> Register {
        Register { version, eui64, boot, epoch, seen, inventory }
    }
}

prop_compose! {
    fn usage()(task: u16, cpu_ms: u32, granted_ms: u32, mem_bytes: u32, mem_peak_bytes: u32, received: u32,
        messages: u32, log_bytes: u32, radio_bytes: u32) -> Usage {
        Usage { task, cpu_ms, granted_ms, mem_bytes, mem_peak_bytes, received, messages, log_bytes, radio_bytes }
    }
}

prop_compose! {
    fn vitals()(uptime_s: u32, frames_out: u32, bytes_out: u32, frames_in: u32, bytes_in: u32, listened_ms: u64,
        cpu_ms: u64) -> Vitals {
        Vitals { uptime_s, frames_out, bytes_out, frames_in, bytes_in, listened_ms, cpu_ms }
    }
}

fn news() -> impl Strategy<Value = News> {
    prop_oneof![Just(News::Nothing), usage().prop_map(News::Usage), vitals().prop_map(News::Vitals)]
}

prop_compose! {
    fn poll()(seen: u32, power in power(), next_s: u16, news in news()) -> Poll {
        Poll { seen, power, next_s, news }
    }
}

prop_compose! {
    fn launch()(task: u16, image: u16, image_len: u32, digest: [u8; 16], document_len: u16,
        kind in prop_oneof![Just(Kind::Wasm), Just(Kind::Native)],
        cpu_permille: u16, mem_bytes: u32, leds: u8, capabilities: u16, max_run_s: u32, resume: bool) -> Launch {
        Launch { task, image, image_len, digest, document_len, kind, cpu_permille, mem_bytes, leds,
            capabilities: Capabilities(capabilities), max_run_s, resume }
    }
}

fn command() -> impl Strategy<Value = Command> {
    let order = prop_oneof![
        launch().prop_map(Order::Launch),
        any::<(u16, u32)>().prop_map(|(task, grace_ms)| Order::Kill { task, grace_ms }),
        (any::<u16>(), bytes()).prop_map(|(task, data)| Order::Message { task, data }),
        any::<(u16, u16)>().prop_map(|(task, len)| Order::Fetch { task, len }),
    ];
    (any::<u32>(), any::<bool>(), order).prop_map(|(seq, more, order)| Command { seq, more, order })
}

fn state() -> impl Strategy<Value = State> {
    let failure = prop::sample::select(vec![
        Failure::Trap,
        Failure::Memory,
        Failure::Digest,
        Failure::Image,
        Failure::Capability,
        Failure::Resources,
        Failure::Restarted,
        Failure::Fetch,
        Failure::Unsupported,
        Failure::Storage,
        Failure::Unhealthy,
        Failure::Timeout,
        Failure::Signature,
    ]);
    prop_oneof![
        Just(State::Starting),
        Just(State::Running),
        any::<i32>().prop_map(State::Exited),
        Just(State::Killed),
        failure.prop_map(State::Failed),
        any::<bool>().prop_map(State::Health),
        any::<i32>().prop_map(State::Checked),
    ]
}

fn fits<T>(message: &T) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let wire = encode(message);
    prop_assert!(wire.is_ok(), "{message:?} does not fit {MESSAGE_MAX} bytes");
    let wire = wire.unwrap();
    prop_assert_eq!(&decode::<T>(&wire).unwrap(), message);
    if !wire.is_empty() {
        prop_assert!(decode::<T>(&wire[..wire.len() - 1]).is_err(), "a truncated message was taken");
    }
    let mut longer = wire.to_vec();
    longer.push(0);
    prop_assert!(decode::<T>(&longer).is_err(), "trailing bytes were taken");
    Ok(())
}

/// The same for what a node sends, whose key identifier takes room.
fn fits_uplink<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
    message: &T,
) -> Result<(), TestCaseError> {
    prop_assert!(encode(message).is_ok_and(|wire| wire.len() <= UPLINK_MAX), "{message:?} is too long");
    fits(message)
}

proptest! {
    #[test]
    fn register_fits(m in register()) { fits_uplink(&m)?; }

    #[test]
    fn registered_fits(lease_s: u16, poll_s: u16, done: u32, fresh: bool, number: u64) {
        fits(&Registered { lease_s, poll_s, done, fresh, number })?;
    }

    #[test]
    fn poll_fits(m in poll()) { fits_uplink(&m)?; }

    #[test]
    fn command_fits(m in command()) { fits(&m)?; }

    #[test]
    fn status_fits(task: u16, seq: u16, state in state(), note in text()) {
        fits_uplink(&Status { task, seq, state, note })?;
    }

    #[test]
    fn message_fits(task: u16, seq: u32, data in bytes()) { fits_uplink(&Message { task, seq, data })?; }

    #[test]
    fn a_long_message_is_the_same_in_more_bytes(task: u16, seq: u32, data in vec(any::<u8>(), 0..=MESSAGE_LONG_MAX + 1)) {
        let message = LongMessage { task, seq, data: &data };
        let Ok(body) = message.encode() else {
            prop_assert!(data.len() > MESSAGE_LONG_MAX);
            return Ok(());
        };
        prop_assert_eq!(LongMessage::decode(&body), Ok(message));
        prop_assert!(LongMessage::decode(&body[..body.len() - 1]).is_err());
        let mut longer = body.to_vec();
        longer.push(0);
        prop_assert_eq!(LongMessage::decode(&longer), Err(CodecError::Trailing));
        if let Ok(data) = heapless::Vec::from_slice(&data) {
            prop_assert_eq!(encode(&Message { task, seq, data }).unwrap(), &body[..]);
        }
    }

    #[test]
    fn log_fits(task: u16, offset: u32, data in bytes()) { fits_uplink(&Log { task, offset, data })?; }

    /// Whatever comes from the radio is a message or an error, never a panic.
    #[test]
    fn any_bytes_are_survived(wire in vec(any::<u8>(), 0..200)) {
        let _ = decode::<Register>(&wire);
        let _ = decode::<Poll>(&wire);
        let _ = decode::<Command>(&wire);
        let _ = decode::<Status>(&wire);
        let _ = decode::<Message>(&wire);
        let _ = decode::<Log>(&wire);
        let _ = postcard::from_bytes::<Document>(&wire);
        let _ = LongMessage::decode(&wire);
    }
}

/// A heartbeat of an idle node, the most frequent message there is.
#[test]
fn an_idle_heartbeat_is_five_bytes() {
    let idle = Poll { seen: 3, power: Power::Battery(97), next_s: 60, news: News::Nothing };
    assert_eq!(encode(&idle).unwrap().as_slice(), [3, 1, 97, 60, 0]);
}
