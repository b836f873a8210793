//! A simulated IEEE 802.15.4 medium: loss, delay, duplication, reordering, and a capture of what it carried.
