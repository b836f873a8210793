//! What boards share: the virtual radio, the guard before the 6LoWPAN stack, storage in RAM.
#![no_std]
