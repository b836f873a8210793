//! UDP over 6LoWPAN over IEEE 802.15.4 as a pure codec, with fragmentation.
