//! libprocess' HTTP message transport: many actors on one address.
