//! The test vectors of RFC 8613 Appendix C.

use node_coap::{Code, Endpoint, Event, Method, Params, Request, Response};
use node_oscore::{Context, Error, Id, Keys, Window};

const SECRET: &str = "0102030405060708090a0b0c0d0e0f10";
const SALT: &str = "9e7ca92223786340";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn id(text: &str) -> Id {
    Id::new(&hex(text)).unwrap()
}

fn keys(salt: &str, id_context: Option<&str>, sender: &str, recipient: &str) -> Keys {
    let id_context = id_context.map(hex);
    Keys::derive(&hex(SECRET), &hex(salt), id_context.as_deref(), id(sender), id(recipient)).unwrap()
}

fn context(keys: Keys, next: u64) -> Context {
    let mut context = Context::new(keys, next, Some(Window::default()), [0; 8]);
    context.reserved(context.reservation().unwrap());
    context
}

/// `GET /tv1`, which all requests of the appendix are.
fn get_tv1() -> Request {
    Request { method: Method::Get, path: "tv1".into(), confirmable: true, ..Request::default() }
}

fn hello() -> Response {
    Response::new(Code::CONTENT, b"Hello World!")
}

/// C.4 and C.5, and with them the keys of C.1 and C.2: what a server with the other end's keys reads is what was sent.
#[test]
fn requests_are_those_of_c4_and_c5() {
    for (salt, sender, option, ciphertext) in
        [(SALT, "", "0914", "612f1092f1776f1c1668b3825e"), ("", "00", "091400", "4ed339a5a379b0b8bc731fffb0")]
    {
        let mut client = context(keys(salt, None, sender, "01"), 20);
        let (outer, _) = client.protect_request(&get_tv1()).unwrap();
        assert_eq!((outer.oscore.as_deref(), &outer.payload), (Some(&hex(option)[..]), &hex(ciphertext)));
        assert_eq!((outer.method, outer.path.as_str()), (Method::Post, ""));
        let mut server = context(keys(salt, None, "01", sender), 0);
        let opened = server.open_request(&outer).unwrap();
        assert!(opened.is_fresh);
        assert_eq!(opened.request, get_tv1());
    }
}

/// C.6: another ID context, other keys. Its option names the ID context, which this end need not send: only the
/// ciphertext depends on it.
#[test]
fn a_request_with_an_id_context_is_that_of_c6() {
    let mut client = context(keys(SALT, Some("37cbf3210017a2d3"), "", "01"), 20);
    let (outer, _) = client.protect_request(&get_tv1()).unwrap();
    assert_eq!(outer.payload, hex("72cd7273fd331ac45cffbe55c3"));
    let mut server = context(keys(SALT, Some("37cbf3210017a2d3"), "01", ""), 0);
    let theirs = Request { oscore: Some(hex("19140837cbf3210017a2d3")), ..outer };
    assert_eq!(server.open_request(&theirs).unwrap().request, get_tv1());
    assert_eq!(context(keys(SALT, None, "01", ""), 0).open_request(&theirs).unwrap_err(), Error::Forged);
}

/// C.7 and C.8: a response with the request's nonce, and one with a number of its own.
#[test]
fn responses_are_those_of_c7_and_c8() {
    let mut client = context(keys(SALT, None, "", "01"), 20);
    let mut server = context(keys(SALT, None, "01", ""), 0);
    let (outer, asked) = client.protect_request(&get_tv1()).unwrap();
    let got = server.open_request(&outer).unwrap().binding;
    let numbered = server.protect_notification(&hello(), &got).unwrap();
    let plain = server.protect_response(&hello(), got);
    assert_eq!((plain.code, plain.oscore.as_deref()), (Code::CHANGED, Some(&[][..])));
    assert_eq!(plain.payload, hex("dbaad1e9a7e7b2a813d3c31524378303cdafae119106"));
    assert_eq!(numbered.oscore, Some(hex("0100")));
    assert_eq!(numbered.payload, hex("4d4c13669384b67354b2b6175ff4b8658c666a6cf88e"));
    assert_eq!(client.open_response(&plain, &asked).unwrap(), hello());
    assert_eq!(client.open_response(&numbered, &asked).unwrap(), hello());
}

/// The whole datagrams of C.4 and C.7 as they are on the wire; the host that C.4 names is another server's business.
#[test]
fn the_datagram_of_c4_is_read_and_answered_as_in_c7() {
    let mut server = context(keys(SALT, None, "01", ""), 0);
    let mut coap = Endpoint::new(Params::default(), 1);
    let datagram = hex("44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e");
    coap.handle((), &datagram, 0);
    let Some(Event::Request { id, request, .. }) = coap.poll_event() else { panic!("no request") };
    let opened = server.open_request(&request).unwrap();
    assert_eq!(opened.request, get_tv1());
    coap.respond((), id, &server.protect_response(&hello(), opened.binding), 0).unwrap();
    let (_, answer) = coap.poll_transmit().unwrap();
    assert_eq!(answer, hex("64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106"));
}
