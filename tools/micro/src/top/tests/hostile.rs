//! Names that would like to be more than names.

use super::*;
use proptest::prelude::*;

/// Texts that would like to be more than texts.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\u{1b}[2J\u{1b}[1;1Howned\r\n\t\u{7}\u{9b}31m".to_owned()),
        Just("\u{202e}\u{2066}evil\u{200d}\u{fe0f}".to_owned()),
        Just("漢字".repeat(300)),
        Just("e\u{301}\u{302}\u{303}👨\u{200d}👩\u{200d}👧🇩🇪".repeat(20)),
        ".{0,60}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_names_say_the_columns_stay_where_they_are(
        text in hostile(), size in (0u16..200, 0u16..60), numbers in any::<u64>(), unicode in any::<bool>(), keys in "[jkGgtsf?/ab\n]{0,12}",
    ) {
        let mut model = model(size);
        model.look.signs = if unicode { Signs::UNICODE } else { Signs::ASCII };
        let mut document = small();
        let node = &mut document["nodes"][0];
        (node["board"], node["hostname"], node["state"]) = (json!(text), json!(text), json!(text));
        (node["cpu"]["used_permille"], node["mailbox"]["commands"]) = (json!(numbers), json!(numbers));
        document["tenants"][0]["role"] = json!(text);
        document["summary"]["mem"]["used_bytes"] = json!(numbers);
        say(&mut model, Subject::Fleet, What::Whole(document));
        let show = |model: &Model| {
            let buffer = drawn(model);
            for line in plain(&buffer).lines() {
                prop_assert!(ratatui::text::Span::raw(line).width() <= size.0.into(), "{line}");
                prop_assert!(!line.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{line:?}");
                prop_assert!(unicode || line.is_ascii(), "{line:?}");
            }
            Ok(())
        };
        show(&model)?;
        if size.0 >= 80 && size.1 >= 24 {
            // The row of that node and the one below agree on where their figures end.
            let screen = plain(&drawn(&model));
            let rows: Vec<&str> = screen.lines().filter(|line| line.contains("020000000000000")).collect();
            prop_assert_eq!(rows.len(), 3, "{}", screen);
        }
        for key in keys.chars() {
            press(&mut model, if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) });
            show(&model)?;
        }
        let mut view = a_node();
        (view["node"]["board"], view["tasks"][0]["task_id"], view["tasks"][0]["role"]) = (json!(text), json!(text), json!(text));
        if model.wants()[1].1.is_some() {
            say(&mut model, Subject::Node, What::Whole(view));
            say(&mut model, Subject::Events, What::Event(json!({ "at_ms": numbers, "text": text, "kind": text })));
            show(&model)?;
        }
    }
}
