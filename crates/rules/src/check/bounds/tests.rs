use crate::check::{Code, Fault, faults};
use crate::expression::Expression;
use crate::shipped;

/// Returns the faults of an expression, checked on a stack as large as that of a main thread.
fn faults_in_thread(when: String) -> Vec<Fault> {
    let check = move || faults(shipped::schemas().get("accidents").unwrap(), &when);
    std::thread::Builder::new().stack_size(8 << 20).spawn(check).unwrap().join().unwrap()
}

#[test]
fn oversized_expression_is_rejected_before_it_is_parsed() {
    let severity = "event.measures.severity";
    let nested =
        |count: usize| format!("{}{severity} > 3.0{}", "(".repeat(count), ")".repeat(count));
    let lists = |count: usize| format!("1 in {}2{}", "[".repeat(count), "]".repeat(count));
    let sum = |count: usize| format!("{} > 60.0", vec![severity; count].join(" + "));
    let choices = |count: usize| {
        let choice = |number| format!("event.entity == '{number}' ? true : ");
        (0..count).map(choice).collect::<String>() + "false"
    };
    let ways = |count: usize| {
        (0..count).fold("event.entity == 'x'".to_owned(), |it, _| format!("({it} ? true : false)"))
    };
    let either = |count: usize| vec!["event.entity == 'x'"; count].join(" || ");
    let dots = |count: usize| format!("event{}", ".entity".repeat(count));
    for (when, code) in [
        (nested(31), None),
        (nested(90), Some("too deep: more than 32 brackets")),
        (lists(60), Some("too deep: more than 32 brackets")),
        (sum(30), None),
        (sum(8_000), Some("too long: more than 64 in a row")),
        (dots(8_000), Some("too long: more than 64 in a row")),
        ("!".repeat(8_000) + "true", Some("too long: more than 64 in a row")),
        (choices(20), None),
        (choices(8_000), Some("too deep: more than 32 brackets or choices")),
        (ways(14), None),
        (either(300), None),
        (either(2_000), Some("too large: more than 2000 parts")),
        (format!("event.entity == '{}'", "(".repeat(90)), None),
        (format!("event.entity == r'\\' // {}", "(".repeat(90)), None),
    ] {
        let shown = when.chars().take(60).collect::<String>();
        let faults = faults_in_thread(when);
        match code {
            None => assert_eq!(faults, [], "{shown}"),
            Some(message) => {
                assert_eq!(faults.len(), 1, "{shown}: {faults:?}");
                assert_eq!(faults[0].code, Code::TooLarge, "{shown}: {faults:?}");
                assert!(faults[0].message.contains(message), "{shown}: {faults:?}");
            }
        }
    }
}

#[test]
fn long_list_is_checked_once() {
    let names = (0..8_000).map(|number| format!("'sensor-{number}'")).collect::<Vec<_>>();
    let numbers = (0..8_000).map(|number| format!("{number}.5")).collect::<Vec<_>>();
    for when in [
        format!("event.entity in [{}] && event.entity != 'x'", names.join(",")),
        format!("!(event.entity in [{}])", names.join(",")),
        format!("!(event.measures.distance_km in [{}])", numbers.join(",")),
    ] {
        assert_eq!(faults_in_thread(when), []);
    }
    let dead = format!("event.measures.severity in [{}, 3.0]", numbers.join(","));
    assert_eq!(faults_in_thread(dead).len(), 10, "a list reports no more");
}

#[test]
fn macros_with_too_many_visits_are_rejected() {
    let list = |length: usize| format!("[{}]", vec!["1"; length].join(","));
    let nested = |depth: usize| {
        (0..depth).fold("a0 == 'x'".to_owned(), |inner, level| {
            format!("event.tags.exists(a{}, {inner})", depth - 1 - level)
        })
    };
    let doubled = |times: usize| format!("'x' in ['x']{}", ".map(x, x + x)".repeat(times));
    for (when, is_rejected) in [
        (nested(2), false),
        (nested(3), true),
        (format!("{}.exists(a, {}.exists(b, a == b))", list(90), list(90)), false),
        (format!("{}.exists(a, {}.exists(b, a == b))", list(110), list(110)), true),
        (format!("event.tags.exists(t, size(t) in {})", list(200)), true),
        ("event.tags.filter(t, t != 'x').map(t, size(t)).exists(n, n > 3)".to_owned(), false),
        (doubled(4), false),
        (doubled(10), true),
    ] {
        let faults = faults_in_thread(when.clone());
        let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(codes.contains(&Code::TooLarge), is_rejected, "{when}: {faults:?}");
        let compiled = Expression::compile("rule", &when);
        assert_eq!(compiled.is_err(), is_rejected, "{when}");
    }
    let error = Expression::compile("rule", &nested(3)).unwrap_err().to_string();
    assert_eq!(error, "rule: costs too much: macros visit more than 10000 list elements, at 1:1");
}
