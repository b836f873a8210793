//! Images looked at while they come: the same answer as from the whole, from little memory.

use agent_wasm::limits::PIECE_MAX;
use agent_wasm::{Screen, StartError, inspect};
use proptest::prelude::*;

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn screened(image: &[u8], piece: usize) -> Result<inspect::Image, StartError> {
    let mut screen = Screen::new();
    for bytes in image.chunks(piece) {
        screen.push(bytes)?;
    }
    screen.finish()
}

/// A module of about `len` bytes, most of them data.
fn with_data(len: usize) -> Vec<u8> {
    let data = "x".repeat(len / 4);
    module(&format!(
        r#"(module
            (import "micro" "log" (func (param i32 i32)))
            (memory (export "memory") 10)
            (data (i32.const 0) "{data}") (data (i32.const 200000) "{data}")
            (data (i32.const 400000) "{data}") (data "{data}")
            (@custom "name of a custom section" "abc")
            (func (export "run") (result i32) i32.const 7))"#
    ))
}

#[test]
fn what_it_finds_is_what_inspection_finds() {
    let images = [
        module(r#"(module (func (export "run") (result i32) i32.const 7))"#),
        module("(module)"),
        module(r#"(module (memory 1) (data "") (func))"#),
        with_data(3_000),
    ];
    for image in images {
        for piece in [1, 7, 64, 100_000] {
            let found = screened(&image, piece).unwrap();
            assert_eq!(found, inspect::inspect(&image).unwrap(), "pieces of {piece}");
        }
    }
}

/// Held back is at most one piece, and what was kept of the data's headers.
#[test]
fn memory_does_not_grow_with_the_image() {
    let held = |len| {
        let (image, mut screen, mut most) = (with_data(len), Screen::new(), 0);
        assert!(image.len() > len - 200);
        for bytes in image.chunks(64) {
            screen.push(bytes).unwrap();
            most = most.max(screen.held_bytes());
        }
        screen.finish().unwrap();
        most
    };
    let (small, middle, large) = (held(5_000), held(50_000), held(500_000));
    assert_eq!((small, middle), (middle, large));
    assert!(small < 1_000, "{small} B");
}

#[test]
fn what_is_wrong_is_said_where_it_comes() {
    let mut image = with_data(50_000);
    // The type section's length.
    image[9] = 0x7f;
    let mut screen = Screen::new();
    let refused = image.chunks(64).position(|bytes| screen.push(bytes).is_err());
    assert!(refused.is_some_and(|at| at < 10), "{refused:?}");
    // A function that returns nothing where it has to return something.
    let bad = [
        &b"\0asm\x01\0\0\0"[..],
        &[1, 5, 1, 0x60, 0, 1, 0x7f], // () -> i32
        &[3, 2, 1, 0],
        &[10, 4, 1, 2, 0, 0x0b],
    ]
    .concat();
    let error = screened(&bad, 3).unwrap_err().to_string();
    assert!(error.contains("type mismatch"), "{error}");
    let valid = with_data(3_000);
    // Between two sections it may well be a module, only another one.
    let whole: Vec<usize> = (0..valid.len()).filter(|cut| screened(&valid[..*cut], 64).is_ok()).collect();
    assert!(whole.len() < 6 && whole[0] == 8, "{whole:?}");
    let more = [&valid[..], &[1]].concat();
    assert!(screened(&more, 64).is_err());
}

#[test]
fn a_function_too_large_to_look_at_is_refused() {
    let body = "nop ".repeat(PIECE_MAX);
    let large = module(&format!(r#"(module (func (export "run") (result i32) {body} i32.const 7))"#));
    let error = screened(&large, 64).unwrap_err();
    assert!(matches!(error, StartError::Limit { what: "bytes in a function", .. }), "{error}");
}

proptest! {
    /// However an image is damaged and cut into pieces: no panic, and nothing passes that the engine then refuses.
    #[test]
    fn damage_is_survived(at in 0usize..400, value: u8, piece in 1usize..100) {
        let mut image = with_data(300);
        let at = at % image.len();
        image[at] = value;
        let whole = screened(&image, image.len()).is_ok();
        prop_assert_eq!(screened(&image, piece).is_ok(), whole, "in pieces of {}", piece);
        if inspect::validate(&image).is_ok() {
            prop_assert!(whole);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..100) {
        let image = [&b"\0asm\x01\0\0\0"[..], &bytes].concat();
        let _ = screened(&image, piece);
        let _ = screened(&bytes, piece);
    }
}
