//! What is in the buffers: records of fixed size, all of their numbers little-endian.

use super::End;
use crate::{Capabilities, Grant, Leds};

/// A number of a record, little-endian. A function of its own for each kind, because records have many.
trait Number: Sized {
    /// Takes it off the front; 0 if that is too short.
    fn take(rest: &mut &[u8]) -> Self;
    /// Puts it to the front; nothing if that is too short.
    fn put(self, rest: &mut &mut [u8]);
}

macro_rules! number {
    ($($kind:ty),*) => {
        $(
            impl Number for $kind {
                #[inline(never)]
                fn take(rest: &mut &[u8]) -> Self {
                    let Some((bytes, after)) = rest.split_first_chunk() else { return 0 };
                    *rest = after;
                    Self::from_le_bytes(*bytes)
                }

                #[inline(never)]
                fn put(self, rest: &mut &mut [u8]) {
                    if let Some((bytes, after)) = core::mem::take(rest).split_first_chunk_mut() {
                        *bytes = self.to_le_bytes();
                        *rest = after;
                    }
                }
            }
        )*
    };
}

number!(u8, u16, u32, u64, u128);

/// A record of fixed size in a buffer, all of its numbers little-endian.
macro_rules! record {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $field:ident : $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$what])* pub $field: $kind,)*
        }

        impl $name {
            /// Bytes of it.
            pub const LEN: usize = 0 $(+ size_of::<$kind>())*;

            /// As bytes.
            pub fn to_bytes(self) -> [u8; Self::LEN] {
                let mut bytes = [0; Self::LEN];
                let mut rest = &mut bytes[..];
                $(self.$field.put(&mut rest);)*
                bytes
            }

            /// From the first bytes of a buffer; `None` if it is too short.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                if bytes.len() < Self::LEN {
                    return None;
                }
                let mut rest = bytes;
                Some(Self { $($field: Number::take(&mut rest),)* })
            }
        }
    };
}

record!(
    /// A [`Grant`] as the agent gives it.
    GrantRecord {
        /// [`Grant::cpu_permille`].
        cpu_permille: u16,
        /// [`Grant::capabilities`].
        capabilities: u16,
        /// [`Grant::mem_bytes`].
        mem_bytes: u32,
        /// [`Grant::flash_bytes`].
        flash_bytes: u32,
        /// [`Grant::leds`].
        leds: u8,
        /// [`Grant::strict`].
        strict: u8,
    }
);

impl GrantRecord {
    /// Of a grant.
    pub fn of(grant: &Grant) -> Self {
        Self {
            cpu_permille: grant.cpu_permille,
            capabilities: grant.capabilities.0,
            mem_bytes: grant.mem_bytes,
            flash_bytes: grant.flash_bytes,
            leds: grant.leds,
            strict: grant.strict.into(),
        }
    }

    /// The grant.
    pub fn grant(&self) -> Grant {
        Grant {
            cpu_permille: self.cpu_permille,
            mem_bytes: self.mem_bytes,
            flash_bytes: self.flash_bytes,
            leds: self.leds,
            capabilities: Capabilities(self.capabilities),
            strict: self.strict != 0,
        }
    }
}

record!(
    /// What a slot is told of itself: its grant, and what the agent put there for it.
    TaskRecord {
        /// [`Grant::cpu_permille`].
        cpu_permille: u16,
        /// [`Grant::capabilities`].
        capabilities: u16,
        /// [`Grant::mem_bytes`].
        mem_bytes: u32,
        /// Bytes of the image.
        image_len: u32,
        /// Bytes of the document.
        document_len: u32,
        /// [`Leds`] of its own.
        leds: u32,
        /// Milliseconds that it has left if it was told to stop; otherwise `u32::MAX`.
        stop_ms: u32,
        /// 1 if it ran before the node restarted.
        resumed: u8,
    }
);

impl TaskRecord {
    /// Which LEDs are its own.
    pub fn own_leds(&self) -> Leds {
        Leds(self.leds)
    }
}

record!(
    /// What the node has.
    NodeRecord {
        /// The radio's EUI-64, as a number in network order.
        eui64: u64,
        /// Memory for all tasks, bytes.
        mem_bytes: u32,
        /// Bytes of one area of the image store.
        area_bytes: u32,
        /// Bytes of the agent's own storage.
        records_bytes: u32,
        /// Bytes of memory of the largest native slot.
        native_mem_bytes: u32,
        /// Bytes of image that the largest native slot takes.
        native_image_bytes: u32,
        /// Share of the core for all tasks, thousandths.
        cpu_permille: u16,
        /// Which slots are hosted, a bit for each; all others are native.
        hosted: u16,
        /// Slots.
        slots: u8,
        /// Areas of the image store.
        areas: u8,
        /// LEDs.
        leds: u8,
        /// Sensors.
        sensors: u8,
    }
);

record!(
    /// What an image has to be; its signed manifest follows, if there is one.
    VerifyRecord {
        /// Bytes of the image.
        len: u32,
        /// First half of its SHA-256.
        digest_high: u128,
        /// Second half of its SHA-256.
        digest_low: u128,
    }
);

impl VerifyRecord {
    /// Of an image.
    pub fn of(len: u32, digest: &[u8; 32]) -> Self {
        let (mut high, mut low) = ([0; 16], [0; 16]);
        high.copy_from_slice(&digest[..16]);
        low.copy_from_slice(&digest[16..]);
        Self { len, digest_high: u128::from_le_bytes(high), digest_low: u128::from_le_bytes(low) }
    }

    /// The image's SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&self.digest_high.to_le_bytes());
        digest[16..].copy_from_slice(&self.digest_low.to_le_bytes());
        digest
    }
}

record!(
    /// What a slot has used since it started.
    UsageRecord {
        /// CPU time, microseconds.
        cpu_us: u64,
        /// CPU time granted, microseconds.
        granted_us: u64,
        /// Memory now, bytes.
        mem_bytes: u32,
        /// The most memory it had, bytes.
        mem_peak_bytes: u32,
        /// Messages to its framework.
        messages: u32,
        /// Bytes of its log.
        log_bytes: u32,
        /// Calls that were refused because its grant does not name them.
        refused: u32,
    }
);

record!(
    /// How a task ended.
    EndRecord {
        /// [`End::encode`].
        class: u8,
        /// [`End::encode`].
        code: u32,
    }
);

impl EndRecord {
    /// Of an end.
    pub const fn of(end: End) -> Self {
        let (class, code) = end.encode();
        Self { class, code }
    }

    /// The end; `None` for a class of a later version.
    pub const fn end(&self) -> Option<End> {
        End::decode(self.class, self.code)
    }
}
