//! The node messages: what a micro node and its gateway say to each other, postcard in CoAP.
