use proptest::prelude::*;

use super::*;

const TEXT: &str = "\
model queues
id Queues
version 2012-11-05
protocols json1.0 query
signing queues
endpoint queues
target Queues
xmlns http://example.test/doc/
arn queues
source queues.amazonaws.com
query-compatible
validation ValidationError redacted java7 input-path brackets-null hide-enums
missing MissingParameter The request must contain the parameter {}.
malformed Name,Other The value for {} is invalid.
malformed Path The path {} is invalid.
coercion jackson
errors com.example#
framework com.example.service#

op Get GET /{Name}?all <GetRequest >GetResult !Gone status=202 wrapper=W element=E element-ns=http://e host={Name}. auth=none actions=a:B,c:D deprecated readonly checksum unwrapped
op Put POST / mutates
struct GetRequest
 Name! Name l=Name host
 Names Names x=Name flat
 Meta Meta hp=x-meta-
 All Meta qs-rest
 Since Time h=since time=http token
struct GetResult
 Body Body payload
 Code Count status
error Gone 410 code=NotThere query-code=Queues.Gone receiver
 Name Name j=theName sensitive
int Count min=-1 max=2147483647
blob Body min=0 sensitive stream
map Meta
 key Name
 value Unit ns=http://m ns-prefix=m attr
str Name min=1 max=80 /[\\w -]+=\\/ \\s/
list Names sparse flat
 member Name x=N q=N2 stream ev-payload ev-header json
time Time time=date-time
str Unit open = Seconds|None of these|None
";

fn read_text() -> Model {
    read(TEXT).unwrap()
}

#[test]
fn every_word_of_the_grammar_is_read_and_written() {
    let model = read_text();
    let reread = read(write(&model).unwrap().leak()).unwrap();
    assert_eq!(reread, model);
    // Sorting by name is the writer's only change.
    let mut ours: Vec<&str> = TEXT.split_inclusive('\n').collect();
    let text = write(&model).unwrap();
    let mut theirs: Vec<&str> = text.split_inclusive('\n').collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(theirs, ours);
}

#[test]
fn the_header_is_read_without_the_rest() {
    let header = read_header("model a\nid A B\n\nthis is no model line", "id C\n").unwrap();
    assert_eq!((header.name, header.service_id), ("a", "C"));
}

#[test]
fn a_service_takes_over_what_its_lines_say() {
    let service = build(read_text()).unwrap();
    let get = service.operation("Get").unwrap();
    let names = get.input.member("Names").unwrap().1;
    assert_eq!(
        (names.xml, names.query, names.ec2),
        ("Name", "Name", "Name"),
        "elements of a flattened list are named by the member"
    );
    assert!(names.is_flattened && names.shape.is_sparse);
    assert_eq!(names.shape.element().ec2, "N2");
    assert!(service.operation("Put").unwrap().input.is_unit());
    assert!(!service.operation("Put").unwrap().is_readonly);
    assert_eq!(get.input.member("Since").unwrap().1.time_format, Some(TimeFormat::HttpDate));
    assert!(get.output.member("Body").unwrap().1.is_streaming);
    assert_eq!(get.result_wrapper, Some("W"));
    assert_eq!(service.shape("Meta").unwrap().entry().1.xml_namespace, Some("m http://m"));
    assert_eq!(service.shape("Unit").unwrap().limits.open_values, ["Seconds", "None of these", "None"]);
    assert_eq!(service.error("NotThere").unwrap().name, "Gone");
}

#[test]
fn verbs_tell_what_only_reads() {
    let cases = [("GetX", true), ("Getaway", false), ("ListX", true), ("List", true), ("PutX", false)];
    for (name, expected) in cases {
        let mut model = Model::default();
        model.operations.push(OperationLine::new(name));
        assert_eq!(build(model).unwrap().operations[0].is_readonly, expected, "{name}");
    }
}

#[test]
fn an_overlay_changes_what_it_names() {
    let mut model = read_text();
    let text = "arn other\n\n\
        # a remark\n\
        set op Put status=204 readonly\n\
        op New POST /new <GetRequest\n\
        set shape Name max=3 /x/\n\
        set shape Gone\n Name Count\n Extra Name\n\
        str Added\n\
        struct Choice\n A Name\n\
        kind Choice union\n\
        last GetRequest Name\n\
        pin Unit = None|Seconds\n";
    overlay(&mut model, text).unwrap();
    let service = build(model).unwrap();
    assert_eq!(service.arn_namespace, "other");
    let put = service.operation("Put").unwrap();
    assert_eq!((put.status, put.is_readonly), (204, true));
    assert_eq!(service.operation("New").unwrap().uri, "/new");
    let limits = &service.shape("Name").unwrap().limits;
    assert_eq!((limits.min, limits.max, limits.pattern), (Some(1.0), Some(3.0), Some("x")));
    let gone: Vec<_> =
        service.shape("Gone").unwrap().members().iter().map(|m| (m.name, m.shape.name)).collect();
    assert_eq!(gone, [("Name", "Count"), ("Extra", "Name")]);
    assert!(service.shape("Added").is_some());
    assert_eq!(service.shape("Choice").unwrap().kind, Kind::Union);
    assert_eq!(service.shape("Unit").unwrap().limits.printed_values, ["None", "Seconds"]);
    assert_eq!(service.shape("GetRequest").unwrap().members().last().unwrap().name, "Name");
}

#[test]
fn a_line_that_says_nothing_known_is_refused_with_its_number() {
    let cases = [
        ("model a\n\nop X", 3, "no method"),
        ("model a\n\nop X GET / status=many", 3, "`many` is not such a number"),
        ("model a\n\nop X GET / quickly", 3, "no operation token `quickly`"),
        ("model a\nprotocols soap\n\n", 2, "no protocol `soap`"),
        ("model a\nmodle b\n\n", 2, "no header `modle`"),
        ("model a\n\n A String", 3, "a member before the first shape"),
        ("model a\n\nstruct A\n B", 4, "no shape"),
        ("model a\n\nstruct A 404", 3, "only an error has a code and a status"),
        ("model a\n\nstr A /x", 3, "a pattern without its closing `/`"),
        ("model a\n\nlist A", 0, "`A` has 0 members"),
    ];
    for (text, line, reason) in cases {
        assert_eq!(read(text), Err(ModelError { line, reason: reason.to_owned() }), "{text}");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_refused() {
    let cases = [
        ("model a\n\nop X GET / <Y", "`X` refers to `Y`, which is not in the model"),
        ("model a\n\nop X GET / <Y\nint Y", "`X` takes or gives `Y`, which is not a structure"),
        ("model a\n\nstruct A\n B C", "`A` refers to `C`, which is not in the model"),
        ("model a\n\nint A\nint A", "shape `A` is there twice"),
        ("model a\n\nint A\nmap M\n key A\n value A", "the keys of `M` are not strings"),
    ];
    for (text, reason) in cases {
        let error = build(read(text).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), reason, "{text}");
    }
}

#[test]
fn overlays_refuse_what_the_model_does_not_have() {
    let cases = [
        ("\nset op Nope status=204", "line 2: the model has no operation `Nope`"),
        ("\nset shape Nope open", "line 2: the model has no shape `Nope`"),
        ("\npin Nope = a", "line 2: the model has no shape `Nope`"),
        ("\nlast GetRequest Nope", "line 2: `GetRequest` has no member `Nope`"),
        ("set op Put status=204", "line 1: no header `set`"),
    ];
    for (text, reason) in cases {
        let error = overlay(&mut read_text(), text).unwrap_err();
        assert_eq!(error.to_string(), reason, "{text}");
    }
}

#[test]
fn a_word_that_the_format_cannot_hold_is_refused_in_writing() {
    let mut model = Model::default();
    model.shapes.push(ShapeLine { pattern: Some("a\nb"), ..ShapeLine::new("A", Kind::String) });
    assert!(write(&model).is_err());
    model.shapes[0] = ShapeLine::new("A B", Kind::String);
    assert!(write(&model).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(lines in prop::collection::vec("[ a-z!=/<>|.0-9]{0,30}", 0..12)) {
        let text: &'static str = lines.join("\n").leak();
        if let Ok(model) = read(text) {
            let _ = build(model);
        }
        let _ = overlay(&mut read_text(), text);
    }
}
