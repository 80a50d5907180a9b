//! Hessian 2: written, read and passed over, against the examples of its specification.

use std::rc::Rc;

use super::*;

#[test]
fn a_text_ends_where_it_was_written_to_wherever_a_letter_is_no_ascii() {
    for length in 0..80 {
        for letter in ["", "\u{e9}", "\u{4e2d}", "\u{1f600}"] {
            for at in 0..=length {
                let text = format!("{}{letter}{}", "a".repeat(at), "b".repeat(length - at));
                let mut bytes = Vec::new();
                write_text(&text, &mut bytes);
                let end = bytes.len();
                bytes.push(b'N');
                let mut skipper = Skipper::new(Reader::new(&bytes), &Limits::default());
                assert!(skipper.string().is_ok(), "{text}");
                assert_eq!(skipper.position(), end, "{text}");
            }
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// The one value of these bytes, read to their end; what passes over it has to agree on where that is.
fn read(bytes: &[u8]) -> (Value, Tree) {
    let mut decoder = Decoder::new(bytes, &Limits::default());
    let value = decoder.value().unwrap_or_else(|e| panic!("{e} {bytes:x?}"));
    assert!(decoder.is_empty(), "{bytes:x?}");
    let mut skipper = Skipper::new(Reader::new(bytes), &Limits::default());
    assert!(skipper.item().is_ok() && skipper.is_empty(), "{bytes:x?}");
    (value, decoder.into_tree())
}

fn fails(bytes: &[u8], limits: &Limits) -> Option<DecodeError> {
    let mut decoder = Decoder::new(bytes, limits);
    while !decoder.is_empty() {
        if let Err(error) = decoder.value() {
            return Some(error);
        }
    }
    None
}

/// The examples of the specification, and what is written of them.
#[test]
fn plain_values_are_those_of_the_specification() {
    let cases: &[(&[u8], Value)] = &[
        (b"N", Value::Null),
        (b"T", Value::Bool(true)),
        (b"F", Value::Bool(false)),
        (b"\x90", Value::Int(0)),
        (b"\x80", Value::Int(-16)),
        (b"\xbf", Value::Int(47)),
        (b"\xc8\x30", Value::Int(48)),
        (b"\xc0\x00", Value::Int(-2048)),
        (b"\xc7\x00", Value::Int(-256)),
        (b"\xcf\xff", Value::Int(2047)),
        (b"\xd0\x00\x00", Value::Int(-262_144)),
        (b"\xd7\xff\xff", Value::Int(262_143)),
        (b"I\x00\x04\x00\x00", Value::Int(262_144)),
        (b"I\x80\x00\x00\x00", Value::Int(i32::MIN)),
        (b"\xe0", Value::Long(0)),
        (b"\xd8", Value::Long(-8)),
        (b"\xef", Value::Long(15)),
        (b"\xf0\x00", Value::Long(-2048)),
        (b"\xf7\x00", Value::Long(-256)),
        (b"\xff\xff", Value::Long(2047)),
        (b"\x38\x00\x00", Value::Long(-262_144)),
        (b"\x3f\xff\xff", Value::Long(262_143)),
        (b"Y\x00\x04\x00\x00", Value::Long(262_144)),
        (
            b"L\x00\x20\x00\x00\x00\x00\x00\x01",
            Value::Long((1 << 53) + 1),
        ),
        (b"\x5b", Value::Double(0.0)),
        (b"\x5c", Value::Double(1.0)),
        (b"D\x40\x28\x80\x00\x00\x00\x00\x00", Value::Double(12.25)),
        (
            b"J\x00\x00\x00\xd0\x4b\x92\x84\xb8",
            Value::Date(894_621_091_000),
        ),
        (b"\x00", text("")),
        (b"\x05hello", text("hello")),
        (b"\x01\xc3\x83", text("\u{c3}")),
        (b"\x02\xed\xa0\xbd\xed\xb8\x80", text("\u{1f600}")),
        (b"\x20", Value::Binary((*b"").into())),
        (
            b"\x23\x01\x02\x03",
            Value::Binary((*b"\x01\x02\x03").into()),
        ),
    ];
    for (bytes, expect) in cases {
        assert_eq!(read(bytes).0, *expect, "{bytes:x?}");
        let mut writer = Writer::default();
        match expect {
            Value::Null => writer.null(),
            Value::Bool(value) => writer.bool(*value),
            Value::Int(value) => writer.int(*value),
            Value::Long(value) => writer.long(*value),
            Value::Double(value) => writer.double(*value),
            Value::Date(value) => writer.date(*value),
            Value::Text(value) => writer.text(value),
            Value::Binary(value) => writer.binary(value),
            Value::Node(_) => unreachable!(),
        }
        assert_eq!(writer.into_bytes(), *bytes);
    }
}

/// What others write in ways of their own.
#[test]
fn other_forms_are_read_as_well() {
    for (bytes, expect) in [
        (&b"\x5d\x80"[..], Value::Double(-128.0)),
        (b"\x5e\x7f\xff", Value::Double(32767.0)),
        (b"\x5f\x00\x00\x2f\xda", Value::Double(12.25)),
        (b"K\x00\xe3\x83\x8f", Value::Date(894_621_060_000)),
        (b"S\x00\x05hello", text("hello")),
        (b"R\x00\x01hS\x00\x04ello", text("hello")),
        (b"R\x00\x00\x05hello", text("hello")),
        // Four bytes for a pair, a pair over two chunks, half a pair, and a zero of two bytes.
        (b"\x02\xf0\x9f\x98\x80", text("\u{1f600}")),
        (b"R\x00\x01\xed\xa0\xbd\x01\xed\xb8\x80", text("\u{1f600}")),
        (b"\x01\xed\xa0\xbd", text("\u{fffd}")),
        (b"\x01\xc0\x80", text("\0")),
        (b"A\x00\x01a\x22bc", Value::Binary((*b"abc").into())),
        (b"B\x00\x03abc", Value::Binary((*b"abc").into())),
        (b"\x34\x03abc", Value::Binary((*b"abc").into())),
    ] {
        assert_eq!(read(bytes).0, expect, "{bytes:x?}");
    }
}

#[test]
fn numbers_are_what_they_were_around_every_border() {
    let borders = [
        0_i64,
        8,
        15,
        16,
        47,
        48,
        255,
        256,
        2047,
        2048,
        65_535,
        65_536,
        262_143,
        262_144,
        1 << 31,
        1 << 53,
        i64::MAX,
    ];
    for border in borders {
        for number in [border, border.saturating_add(1), -border, -border - 1] {
            let mut writer = Writer::default();
            writer.long(number);
            assert_eq!(read(&writer.into_bytes()).0, Value::Long(number));
            if let Ok(int) = i32::try_from(number) {
                let mut writer = Writer::default();
                writer.int(int);
                assert_eq!(read(&writer.into_bytes()).0, Value::Int(int));
            }
        }
    }
}

#[test]
fn long_texts_and_bytes_go_in_chunks() {
    for len in [31, 32, 1023, 1024, 0x7fff, 0x8000, 0x8001, 200_000] {
        let long = "\u{1f600}a".repeat(len / 3 + 1);
        let bytes = vec![7; len];
        let mut writer = Writer::default();
        writer.text(&long);
        assert_eq!(read(&writer.into_bytes()).0, text(&long), "{len}");
        let mut writer = Writer::default();
        writer.binary(&bytes);
        let read = read(&writer.into_bytes()).0;
        assert_eq!(read, Value::Binary(bytes.into()), "{len}");
    }
}

#[test]
fn lists_maps_and_objects_are_read_as_they_are_written() {
    let mut writer = Writer::default();
    writer.list(None, 4);
    writer.list(Some("[string"), 9);
    (0..9).for_each(|at| writer.text(&at.to_string()));
    writer.map(None);
    writer.text("a");
    writer.int(1);
    writer.end_map();
    writer.map(Some("java.util.TreeMap"));
    writer.end_map();
    writer.object("com.test.Person", &["name", "age"]);
    writer.text("J\u{fc}rgen");
    writer.int(42);
    let (value, tree) = read(&writer.into_bytes());
    assert_eq!(value, Value::Node(0));
    let classes: Vec<_> = tree
        .nodes
        .iter()
        .map(|node| node.class.as_deref())
        .collect();
    let expect = [
        None,
        Some("[string"),
        None,
        Some("java.util.TreeMap"),
        Some("com.test.Person"),
    ];
    assert_eq!(classes, expect);
    let all = (1..5).map(Value::Node).collect();
    assert_eq!(tree.nodes[0].body, Body::List(all));
    assert_eq!(tree.field(&Value::Node(2), "a"), Some(&Value::Int(1)));
    assert_eq!(tree.field(&Value::Node(4), "age"), Some(&Value::Int(42)));
    assert_eq!(tree.field(&Value::Node(4), "nobody"), None);
    assert_eq!(tree.field(&Value::Node(1), "0"), None);
}

/// As the specification's own example: two cars of one class, and the first once more.
#[test]
fn classes_types_and_references_are_known_by_number() {
    let bytes = b"\x7a\
        C\x0bexample.Car\x92\x05color\x05model\
        O\x90\x03red\x08corvette\
        \x60\x05green\x05civic";
    let (_, tree) = read(bytes);
    assert_eq!(tree.field(&Value::Node(2), "color"), Some(&text("green")));
    assert_eq!(tree.nodes[1].class.as_deref(), Some("example.Car"));
    // A list of a type, one of the same by its number, and the first again, which is what is within it too.
    let bytes = b"\x7b\x71\x04[int\x90\x71\x90Q\x91Q\x90";
    let (_, tree) = read(bytes);
    assert_eq!(tree.nodes[2].class.as_deref(), Some("[int"));
    assert_eq!(tree.nodes[2].body, Body::List(vec![Value::Node(1)]));
    let all = vec![Value::Node(1), Value::Node(2), Value::Node(0)];
    assert_eq!(tree.nodes[0].body, Body::List(all));
    // Lists that end with a mark.
    let (_, tree) = read(b"U\x04[int\x91W\x92ZZ");
    assert_eq!(
        tree.nodes[0].body,
        Body::List(vec![Value::Int(1), Value::Node(1)])
    );
}

#[test]
fn what_is_no_value_is_an_error() {
    for bytes in [
        &b"Z"[..],
        b"@",
        b"\x05hell",
        b"\x01\x80",
        b"\x02\xf0\x9f\x98",
        b"\x01\xf0\x9f\x98\x80",
        b"\x01\xc3\x28",
        b"Q\x90",
        b"\x60",
        b"C\x01a\x90N",
        b"C\x01a\x91\x01b",
        b"\x71\x90N",
        b"\x71\x8fN",
        b"X\x8f",
        b"X\xbfN",
        b"H\x01a",
        b"H\x01aN",
        b"M\xf0",
        b"\x23ab",
        b"I\0\0\0",
        b"L\0\0\0",
        b"D\0",
        b"J\0",
        b"K\0",
    ] {
        let error = fails(bytes, &Limits::default());
        assert_eq!(error, Some(DecodeError::BadBody), "{bytes:x?}");
    }
}

#[test]
fn depth_and_number_of_values_are_limited() {
    let limits = Limits {
        depth: 3,
        values: 10,
        ..Limits::default()
    };
    assert_eq!(fails(b"\x79\x79\x79N", &limits), None);
    let deep = fails(b"\x79\x79\x79\x78", &limits);
    assert_eq!(deep, Some(DecodeError::TooDeep));
    assert_eq!(fails(b"NNNNNNNNNN", &limits), None);
    let many = Some(DecodeError::TooManyValues);
    assert_eq!(fails(b"NNNNNNNNNNN", &limits), many);
    assert_eq!(fails(b"C\x01aI\x7f\xff\xff\xff", &limits), many);
    // Deeper than any stack, where the limits let it.
    let all = Limits {
        depth: usize::MAX,
        values: usize::MAX,
        ..limits
    };
    let deep = fails(&b"\x79".repeat(1 << 20), &all);
    assert_eq!(deep, Some(DecodeError::TooDeep));
    let deep = fails(&b"H".repeat(1 << 20), &all);
    assert_eq!(deep, Some(DecodeError::TooDeep));
}

#[test]
fn a_value_cut_short_is_no_value() {
    let mut writer = Writer::default();
    writer.list(Some("java.util.ArrayList"), 3);
    writer.object("com.test.Person", &["name", "picture"]);
    writer.text("J\u{fc}rgen \u{1f600}");
    writer.binary(&[0; 40]);
    writer.map(Some("java.util.TreeMap"));
    writer.double(0.5);
    writer.date(1_700_000_000_000);
    writer.end_map();
    writer.long(i64::MIN);
    let bytes = writer.into_bytes();
    assert_eq!(fails(&bytes, &Limits::default()), None);
    for cut in 1..bytes.len() {
        let error = fails(&bytes[..cut], &Limits::default());
        assert_eq!(error, Some(DecodeError::BadBody), "{cut}");
    }
}

#[test]
fn names_of_fields_are_shared_by_all_objects_of_a_class() {
    let (_, tree) = read(b"\x7aC\x01a\x91\x01b\x60\x90\x60\x91");
    let names: Vec<_> = tree.nodes[1..]
        .iter()
        .map(|node| match &node.body {
            Body::Map(pairs) => pairs[0].0.clone(),
            Body::List(_) => panic!("no object"),
        })
        .collect();
    let [Value::Text(a), Value::Text(b)] = &names[..] else {
        panic!("{names:?}")
    };
    assert!(Rc::ptr_eq(a, b));
}

/// What the fuzzer looks for with more time: seeds with some bytes changed.
#[test]
fn of_any_bytes_what_is_read_ends_where_it_is_passed_over() {
    let seeds: &[&[u8]] = &[
        include_bytes!("../../fuzz/corpus/hessian/cars"),
        include_bytes!("../../fuzz/corpus/hessian/references"),
        include_bytes!("../../fuzz/corpus/hessian/mixed"),
        include_bytes!("../../fuzz/corpus/hessian/texts"),
        include_bytes!("../../fuzz/corpus/hessian/numbers"),
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut read = 0;
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..next(4) {
            let at = next(bytes.len());
            bytes[at] = next(256) as u8;
        }
        bytes.truncate(bytes.len() - next(3).min(bytes.len() - 1));
        let mut decoder = Decoder::new(&bytes, &Limits::default());
        let Ok(value) = decoder.value() else { continue };
        let end = decoder.position();
        let mut skipper = Skipper::new(Reader::new(&bytes), &Limits::default());
        assert!(skipper.item().is_ok(), "{bytes:x?} {value:?}");
        assert_eq!(skipper.position(), end, "{bytes:x?}");
        read += 1;
    }
    assert!(read > 5000, "{read}");
}
