//! The host interface is said twice, in Rust for the executor and in WIT for tools: both say the same.

mod support;

use agent_wasm::abi::{self, Type};
use agent_wasm::{Config, Executor, StartError};
use std::collections::BTreeMap;
use support::*;

const WIT: &str = include_str!("../wit/micro.wit");

type Signature = (Vec<Type>, Vec<Type>);

fn kind(name: &str) -> Type {
    match name.trim() {
        "u32" | "s32" => Type::I32,
        "s64" => Type::I64,
        other => panic!("type {other}"),
    }
}

/// The functions of the lines that begin so, by the name that they have in a module.
fn functions(prefix: &str) -> BTreeMap<String, Signature> {
    let lines = WIT.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let lines = lines.filter_map(|line| line.strip_prefix(prefix)?.strip_suffix(';')?.split_once(": func("));
    let named = lines.map(|(name, rest)| {
        let (params, result) = rest.split_once(')').unwrap();
        let params = params.split(',').filter(|param| !param.trim().is_empty());
        let params = params.map(|param| kind(param.split_once(':').unwrap().1)).collect();
        let results = result.trim().strip_prefix("->").map(kind).into_iter().collect();
        (name.replace('-', "_"), (params, results))
    });
    named.collect()
}

#[test]
fn the_wit_file_and_the_table_have_the_same_functions() {
    let mut in_wit = functions("");
    in_wit.retain(|name, _| !name.starts_with("export "));
    let ours =
        abi::FUNCTIONS.iter().map(|of| (of.name.to_owned(), (of.params.to_vec(), of.results.to_vec())));
    assert_eq!(in_wit, ours.collect());
    assert_eq!(in_wit.len(), abi::FUNCTIONS.len(), "no name twice");
    assert_eq!(functions("export ")[abi::ENTRY], (vec![], vec![Type::I32]));
    assert!(WIT.contains("package micro:task@1.1.0;"));
}

#[test]
fn the_wit_file_names_each_functions_capability() {
    for function in abi::FUNCTIONS {
        let line = format!("    {}: func(", function.name.replace('_', "-"));
        let before = &WIT[..WIT.find(&line).unwrap()];
        let document = &before[before.rfind("\n\n").or(before.rfind("{\n")).unwrap()..];
        for (name, bit) in abi::CAPABILITY_NAMES {
            let named = document.contains(&format!("[{name}]"));
            assert_eq!(named, function.capability == bit, "{}: {name}", function.name);
        }
    }
}

#[test]
fn every_function_can_be_imported_with_its_type_and_with_no_other() {
    let text = |kinds: &[Type]| {
        let names = kinds.iter().map(|kind| if *kind == Type::I32 { " i32" } else { " i64" });
        names.collect::<String>()
    };
    let import = |name: &str, params: &[Type], results: &[Type]| {
        let (params, results) = (text(params), text(results));
        format!(
            r#"(module (import "micro" "{name}" (func (param{params}) (result{results})))
            (func (export "run") (result i32) (i32.const 0)))"#
        )
    };
    for function in abi::FUNCTIONS {
        let mut executor = Executor::new(Config::default());
        let right = import(function.name, function.params, function.results);
        assert_eq!(start(&mut executor, 1, &right, grant(100, 0, ALL)), Ok(()), "{}", function.name);
        let wrong = import(function.name, &[Type::I64], function.results);
        let refused = start(&mut executor, 2, &wrong, grant(100, 0, ALL));
        assert_eq!(refused, Err(StartError::WrongImport(format!("micro.{}", function.name))));
        let elsewhere = right.replace("\"micro\"", "\"micro2\"");
        let refused = start(&mut executor, 2, &elsewhere, grant(100, 0, ALL));
        assert_eq!(refused, Err(StartError::UnknownImport(format!("micro2.{}", function.name))));
    }
}

#[test]
fn all_capabilities_have_a_name() {
    let named = abi::CAPABILITY_NAMES.iter().fold(0, |set, (_, bit)| set | bit);
    assert_eq!(named, ALL);
}
