use super::Expression;
fn text(kind: &str, n: usize) -> String {
    match kind {
        "list" => format!("{}1{} == []", "[".repeat(n), "]".repeat(n)),
        "paren" => format!("{}true{}", "(".repeat(n), ")".repeat(n)),
        "add" => format!("1{} == 1", " + 1".repeat(n)),
        "and" => format!("true{}", " && true".repeat(n)),
        "eq" => format!("true{}", "==true".repeat(n)),
        "tern" => format!("{}true", "true?true:".repeat(n)),
        "neg" => format!("{}1 == 1", "-".repeat(n)),
        "not" => format!("{}true", "!".repeat(n)),
        "sel" => format!("claims{}", ".a".repeat(n)),
        "idx" => format!("claims{}", "[1]".repeat(n)),
        "call" => format!("claims{}", ".size()".repeat(n)),
        "size" => format!("{}1{}", "size(".repeat(n), ")".repeat(n)),
        "macro" => format!("[1]{}", ".map(a,a)".repeat(n)),
        "map" => format!("{}1{}", "{1:".repeat(n), "}".repeat(n)),
        "msg" => format!("{}1{}", "A{a:".repeat(n), "}".repeat(n)),
        _ => "[".repeat(n),
    }
}
#[test]
fn probe() {
    let kind = base::env::text("KIND").unwrap();
    let n: usize = base::env::text("N").unwrap().parse().unwrap();
    let t = text(&kind, n);

    let c = Expression::compile(&t, &[]);
    if let Ok(c) = &c {
        let mb: usize = base::env::text("KB").map_or(2048, |m| m.parse().unwrap()) << 10;
        std::thread::scope(|s| std::thread::Builder::new().stack_size(mb).spawn_scoped(s, || println!("Ok eval {:?}", c.eval_bool(&crate::fixture::exchange("GET /")).map_err(|_| ()))).unwrap().join().unwrap());
    }
    println!("{} {:?}", t.len(), Expression::compile(&t, &[]).map_err(|e| e.chars().take(100).collect::<String>()));
}
