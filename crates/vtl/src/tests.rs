use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::*;

/// `$input.path(..)`, `$util`, and `$doc`, the document itself.
struct Doc(Json);

impl Host for Doc {
    fn root(&mut self, name: &str, heap: &mut Heap) -> Result<Option<Value>, VtlError> {
        Ok(match name {
            "input" => Some(Value::Host(1)),
            "util" => Some(Value::Host(2)),
            "doc" => Some(heap.from_json(&self.0)?),
            _ => None,
        })
    }

    fn property(&mut self, _: u32, _: &str, _: &mut Heap) -> Result<Value, VtlError> {
        Ok(Value::Null)
    }

    fn method(
        &mut self,
        object: u32,
        name: &str,
        arguments: &[Value],
        heap: &mut Heap,
    ) -> Result<Value, VtlError> {
        if object == 2 {
            return util::call(name, arguments, heap);
        }
        let path = JsonPath::parse(arguments[0].as_str().unwrap_or_default()).map_err(VtlError::failed)?;
        match path.find(&self.0) {
            Some(found) => heap.from_json(&found),
            None => Ok(Value::Null),
        }
    }
}

fn run(template: &str, document: Json) -> Result<String, VtlError> {
    let template = Template::parse(template)?;
    template.run(&mut Doc(document), Limits::default()).map(|run| run.output)
}

#[test]
fn templates_make_what_velocity_makes() {
    let document = json!({
        "name": "Ann", "age": 41, "big": 9007199254740993i64, "rate": 12.5, "none": null, "yes": true,
        "tags": ["a", "b"], "at": {"x": 1, "y": {"z": "deep"}}, "quote": "it's \"so\"",
        "people": [{"name": "Bo", "age": 7}, {"name": "Cy", "age": 70}],
    });
    let cases = [
        // template, output
        ("plain $5.00 #fff # ## gone\nnext", "plain $5.00 #fff # next"),
        ("a #* gone *# b", "a  b"),
        ("#[[ $doc.name #if ]]#", " $doc.name #if "),
        ("$doc.name ${doc.name}s $!doc.name $!{doc.name}", "Ann Anns Ann Ann"),
        ("$nobody $!nobody ${nobody} $!{nobody}.", "$nobody  ${nobody} ."),
        ("${nobody|'else'} ${doc.name|'else'}", "else Ann"),
        (r"\$doc.name \\$doc.name \$nobody \#if \x", r"$doc.name \Ann \$nobody #if \x"),
        ("$doc.none|$doc.missing|$doc.name.", "||Ann."),
        ("$doc.big $doc.rate $doc.yes", "9007199254740993 12.5 true"),
        ("$doc.tags $doc.at", r#"["a","b"] {x=1, y={z=deep}}"#),
        ("$doc.at.y.z $doc['name'] $doc.tags[0] $doc.tags[-1] $doc.tags[9]", "deep Ann a b "),
        ("#set($x = 3)$x #set($x = $x + 1)$x", "34"),
        ("#set( $s = \"$doc.name is ${doc.age}\" )$s #set($t='$doc.name')$t", "Ann is 41$doc.name"),
        ("#set($a = 7 / 2)$a #set($b = 7 % 4)$b #set($c = 7.0 / 2)$c #set($d = -3 * 2)$d", "333.5-6"),
        ("#set($a = 1 + 2 * 3)$a#set($b = (1 + 2) * 3)$b", "79"),
        ("#set($n = 1 / 0)[$n]", "[]"),
        ("#set($s = 'a' + 1)$s", "a1"),
        ("#if($doc.yes)y#{else}n#end#if($doc.none)y#{else}n#end#if('')y#{else}n#end", "yny"),
        ("#if($doc.age > 40 && $doc.age <= 41)in#end", "in"),
        ("#if($doc.age == 41.0 and $doc.name ne 'Bo' and not false)ok#end", "ok"),
        ("#if(1 > 2)a#elseif(2 > 1)b#{else}c#end", "b"),
        ("#if(!$nobody || false)yes#end", "yes"),
        (
            "#foreach($t in $doc.tags)$foreach.index:$foreach.count:$t#if($foreach.hasNext),#end#end",
            "0:1:a,1:2:b",
        ),
        (
            "#foreach($p in $doc.people)$p.name#foreach($t in $doc.tags)$foreach.parent.index$t#end #end",
            "Bo0a0b Cy1a1b ",
        ),
        ("#foreach($i in [1..3])$i#end#foreach($i in [3..1])$i#end$velocityCount", "1233213"),
        ("#foreach($i in [1..9])#if($i == 3)#break#end$i#end.", "12."),
        ("a#stop b", "a"),
        ("#foreach($v in $doc.at)$v#end", "1{z=deep}"),
        ("#set($l = [1, 'b', [2]])#set($_ = $l.add(3))$l $l.size()", "[1, b, [2], 3] 4"),
        (
            "#set($m = {'a': 1, \"b\": {'c': 2}})#set($m.d = 4)#set($m['e'] = 5)$m $m.b.c",
            "{a=1, b={c=2}, d=4, e=5} 2",
        ),
        ("#foreach($e in $doc.at.entrySet())$e.key=$e.value;#end", "x=1;y={z=deep};"),
        ("#foreach($k in $doc.at.keySet())$k$foreach.last#end", "xfalseytrue"),
        (
            "#macro(greet $who $how)$how, $who!#end#greet($doc.name 'Hi')#greet('Bo', \"Yo\")",
            "Hi, Ann!Yo, Bo!",
        ),
        ("$input.path('$.at.y').z $input.path('$..name')", r#"deep ["Ann","Bo","Cy"]"#),
        ("$util.escapeJavaScript($doc.quote) $util.urlEncode('a b/ü')", r#"it\'s \"so\" a+b%2F%C3%BC"#),
        ("$util.base64Encode('hi') $util.base64Decode('aGk=') $util.urlDecode('a+b%2F')", "aGk= hi a b/"),
        ("#set($j = $util.parseJson('{\"k\":[1,{\"q\":2}]}'))$j.k[1].q", "2"),
        // strings
        (
            "#set($s='a,b,,c,,')$s.split(',').size() $s.length() $s.substring(2) $s.substring(0,1)",
            "4 8 b,,c,, a",
        ),
        (
            "$doc.name.replaceAll('(n)+', '<$1>') $doc.name.replace('n','') $doc.name.toUpperCase()",
            "A<n> A ANN",
        ),
        (
            "$doc.name.indexOf('n') $doc.name.contains('nn') $doc.name.matches('A.*') $doc.name.charAt(0)",
            "1 true true A",
        ),
        ("#set($i = 0)$i.parseInt('42') $doc.age.toString().length()", "42 2"),
        ("#if($doc.tags.isEmpty())e#{else}f#end $doc.at.containsKey('x') $doc.at.get('y').z", "f true deep"),
        ("#set($e='\"')#set($q=\"a\"\"b\")$q", "a\"b"),
    ];
    for (template, expected) in cases {
        assert_eq!(run(template, document.clone()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn white_space_is_taken_as_velocity_takes_it() {
    let cases = [
        ("a\n  #set($x = 1)\nb", "a\nb"),
        ("{\n#if(true)\n  \"a\": 1\n#end\n}", "{\n  \"a\": 1\n}"),
        ("#foreach($i in [1..2])\n- $i\n#end\nend", "- 1\n- 2\nend"),
        ("#if(false)\nx\n#else\ny\n#end", "y\n"),
        ("a ## note\r\nb", "a b"),
    ];
    for (template, expected) in cases {
        assert_eq!(run(template, Json::Null).as_deref(), Ok(expected), "{template:?}");
    }
}

#[test]
fn a_bad_template_says_the_line() {
    let cases = [
        ("a\n#if(true)", "line 2"),
        ("\n\n#end", "line 3"),
        ("#set($x = )", "line 1"),
        ("#set(x = 1)", "line 1"),
        ("#foreach($x of $y)#end", "expected in"),
        ("#include('x')", "#include is not available"),
        ("#set($x = \"open)", "without its end"),
        ("#* open", "without its end"),
    ];
    for (template, expected) in cases {
        let error = run(template, Json::Null).expect_err(template).to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn what_never_ends_ends_with_an_error() {
    let nested = "#foreach($i in [1..1000])".repeat(3) + "x" + &"#end".repeat(3);
    let doubled = "#set($s = 'ab')#foreach($i in [1..60])#set($s = \"$s$s\")#end$s".to_owned();
    let shared = "#set($a = [1])#foreach($i in [1..100])#set($a = [$a, $a])#end$a".to_owned();
    let cyclic = "#set($a = [])#set($x = $a.add($a))$a".to_owned();
    let cases = [
        ("turns", "#foreach($i in [1..1001])$i#end".to_owned(), false),
        ("steps", nested, false),
        ("bytes", doubled, false),
        ("range", "#set($x = [1..1000000000])".to_owned(), false),
        ("macro", "#macro(m)#m()#end#m()".to_owned(), false),
        ("brackets", "#set($x = ".to_owned() + &"(".repeat(100_000) + "1", false),
        ("lists", "#set($x = ".to_owned() + &"[".repeat(100_000), false),
        ("nots", "#if(".to_owned() + &"!".repeat(100_000) + "true)#end", false),
        ("ifs", "#if(true)".repeat(100_000), false),
        ("methods", "$a.b(".repeat(100_000), false),
        ("shared", shared, true),
        ("cyclic", cyclic, true),
    ];
    for (name, template, ends_well) in cases {
        let outcome = run(&template, Json::Null);
        if !ends_well {
            assert!(
                matches!(outcome, Err(VtlError::Limit(_))),
                "{name}: {:?}",
                outcome.map(|text| text.len())
            );
        }
    }
}

#[test]
fn variables_are_there_after_the_run() {
    let template = Template::parse("#set($doc.status = 404)#set($other = 'x')").unwrap();
    let run = template.run(&mut Doc(json!({"status": 200})), Limits::default()).unwrap();
    let document = run.variable("doc").and_then(|value| run.heap.to_json(value));
    assert_eq!(document, Some(json!({"status": 404})));
    assert!(run.variable("nobody").is_none() && template.mentions("other"));
}

#[test]
fn paths_find_what_jayway_finds() {
    let store = json!({
        "store": {
            "book": [
                {"category": "reference", "author": "Rees", "title": "Sayings", "price": 8.95},
                {"category": "fiction", "author": "Waugh", "title": "Sword", "price": 12.99},
                {"category": "fiction", "author": "Melville", "title": "Moby", "isbn": "0-553", "price": 8.99},
            ],
            "bicycle": {"color": "red", "price": 19.95},
        },
        "max": 10, "a b": {"c.d": 1}, "list": [3, 1, 2],
    });
    let cases = [
        ("$.store.bicycle.color", json!("red")),
        ("store.bicycle.color", json!("red")),
        ("$['store']['bicycle'][\"color\"]", json!("red")),
        ("$['a b']['c.d']", json!(1)),
        ("$.store.book[*].author", json!(["Rees", "Waugh", "Melville"])),
        ("$..author", json!(["Rees", "Waugh", "Melville"])),
        ("$.store..price", json!([8.95, 12.99, 8.99, 19.95])),
        ("$.store.book[2].title", json!("Moby")),
        ("$.store.book[-1].title", json!("Moby")),
        ("$.store.book[0,1].title", json!(["Sayings", "Sword"])),
        ("$.store.book[:2].title", json!(["Sayings", "Sword"])),
        ("$.store.book[1:].title", json!(["Sword", "Moby"])),
        ("$.store.book[-2:].title", json!(["Sword", "Moby"])),
        ("$.store.book[?(@.isbn)].title", json!(["Moby"])),
        ("$.store.book[?(@.price < $.max)].title", json!(["Sayings", "Moby"])),
        ("$.store.book[?(@.category == 'fiction' && @.price > 10)].title", json!(["Sword"])),
        (
            "$.store.book[?(!(@.category == 'fiction') || @.price >= 12.99)].title",
            json!(["Sayings", "Sword"]),
        ),
        ("$.store.book[?(@.author =~ /.*ees/i)].title", json!(["Sayings"])),
        ("$.store.book[?(@.author in ['Rees', 'Nobody'])].title", json!(["Sayings"])),
        ("$.store.book[?(@.title contains 'o')].price", json!([12.99, 8.99])),
        ("$..book.length()", json!(1)),
        ("$.store.book.length()", json!(3)),
        ("$.list.max()", json!(3.0)),
        ("$.list.sum()", json!(6.0)),
        ("$.store.bicycle['color','price']", json!(["red", 19.95])),
        ("$.list[?(@ > 1)]", json!([3, 2])),
        ("$.store.bicycle.*", json!(["red", 19.95])),
    ];
    for (path, expected) in cases {
        let parsed = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(parsed.find(&store).as_deref(), Some(&expected), "{path}");
    }
    assert_eq!(JsonPath::parse("$").unwrap().find(&store).as_deref(), Some(&store));
    for absent in ["$.nobody", "$.store.book.title", "$.list[7]", "$.max.x"] {
        assert_eq!(JsonPath::parse(absent).unwrap().find(&store), None, "{absent}");
    }
    for bad in ["$.", "$[", "$['x", "$[?(@.x", "$.x()y", "", "$[?(((((((((((((((((((((((((((((((((((((((((("]
    {
        assert!(JsonPath::parse(bad).is_err(), "{bad}");
    }
    // Ends, though it names more than there is.
    let deep = (0..40).fold(json!([1, 2, 3]), |inner, _| json!([inner, inner.as_array().map(Vec::len)]));
    let _ = JsonPath::parse("$..*..*..*..*").unwrap().find(&deep);
}

proptest! {
    #[test]
    fn nothing_panics(template in "([$#\\\\!{}()\\[\\]\"'.,a-c |=+<&\n]|#if|#set|#end|#foreach|\\$a|in|\\$doc){0,60}") {
        let _ = run(&template, json!({"a": [1, {"b": "c"}]}));
    }

    #[test]
    fn no_path_panics(path in "[$.\\[\\]()?@'*:,0-9a-c!=<&|/ -]{0,40}") {
        if let Ok(path) = JsonPath::parse(&path) {
            let _ = path.find(&json!({"a": [1, {"b": "c"}], "c": {"a": 1}}));
        }
    }
}
