use super::*;
use crate::select::sql::parse;

fn csv(fields: &[&str], header: Option<&[&str]>) -> Record {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Record::Csv { fields: own(fields), header: header.map(|header| Arc::new(own(header))) }
}

fn run(query: &str, records: &[Record]) -> Result<Vec<String>, &'static str> {
    let query = parse(query).map_err(|error| error.code)?;
    let mut run = Run::new(query, Timestamp::from_secs(1_704_067_200));
    let mut rows = vec![];
    for record in records {
        run.record(record, &mut rows).map_err(|error| error.code)?;
    }
    run.finish(&mut rows).map_err(|error| error.code)?;
    let show = |row: &Row| row.iter().map(|(_, value)| value.to_text()).collect::<Vec<_>>().join(",");
    Ok(rows.iter().map(show).collect())
}

#[test]
fn queries_over_csv() {
    let header: &[&str] = &["id", "name", "Price"];
    let records: Vec<Record> = [["1", "ann", "10.5"], ["2", "bob", "7"], ["3", "ANNA", "30"]]
        .iter()
        .map(|fields| csv(fields, Some(header)))
        .collect();
    let cases: [(&str, Result<&[&str], &str>); 22] = [
        ("SELECT * FROM S3Object", Ok(&["1,ann,10.5", "2,bob,7", "3,ANNA,30"])),
        ("SELECT s.name, s._1 FROM S3Object s WHERE s.price > 8", Ok(&["ann,1", "ANNA,3"])),
        ("SELECT name FROM S3Object WHERE id = '2' OR id = 3", Ok(&["bob", "ANNA"])),
        ("SELECT name FROM S3Object WHERE LOWER(name) LIKE 'ann%'", Ok(&["ann", "ANNA"])),
        ("SELECT name FROM S3Object WHERE name NOT LIKE '%n%'", Ok(&["bob", "ANNA"])),
        ("SELECT id FROM S3Object WHERE CAST(price AS FLOAT) BETWEEN 7 AND 11", Ok(&["1", "2"])),
        ("SELECT id FROM S3Object WHERE id IN (1, 3)", Ok(&["1", "3"])),
        ("SELECT id FROM S3Object LIMIT 2", Ok(&["1", "2"])),
        ("SELECT COUNT(*), SUM(price), MIN(id), MAX(id), AVG(id) FROM S3Object", Ok(&["3,47.5,1,3,2"])),
        ("SELECT COUNT(*) + 1 FROM S3Object WHERE id > 5", Ok(&["1"])),
        ("SELECT SUM(price) FROM S3Object WHERE id > 5", Ok(&[""])),
        ("SELECT CASE WHEN id < 2 THEN 'low' ELSE 'high' END FROM S3Object", Ok(&["low", "high", "high"])),
        ("SELECT CASE id WHEN 2 THEN 'two' END FROM S3Object LIMIT 2", Ok(&["", "two"])),
        ("SELECT SUBSTRING(name, 2, 2), CHAR_LENGTH(name) FROM S3Object LIMIT 1", Ok(&["nn,3"])),
        ("SELECT TRIM(BOTH 'a' FROM name) FROM S3Object LIMIT 1", Ok(&["nn"])),
        ("SELECT COALESCE(NULLIF(id, 1), 'none') FROM S3Object", Ok(&["none", "2", "3"])),
        ("SELECT id || '-' || name FROM S3Object LIMIT 1", Ok(&["1-ann"])),
        ("SELECT -CAST(id AS INT) * 2 + 1 FROM S3Object LIMIT 1", Ok(&["-1"])),
        ("SELECT EXTRACT(YEAR FROM UTCNOW()) FROM S3Object LIMIT 1", Ok(&["2024"])),
        ("SELECT nothing FROM S3Object", Err("InvalidColumnIndex")),
        ("SELECT CAST(name AS INT) FROM S3Object", Err("CastFailed")),
        ("SELECT id FROM S3Object WHERE \"price\" > 8", Err("InvalidColumnIndex")),
    ];
    for (query, expected) in cases {
        let expected = expected.map(|rows| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>());
        assert_eq!(run(query, &records), expected, "{query}");
    }
}

#[test]
fn queries_over_json() {
    let record = |text: &str| Record::Json(serde_json::from_str(text).expect("JSON"));
    let records = [
        record(r#"{"id": 1, "tags": ["x", "y"], "at": {"city": "Bern"}, "rows": [{"n": 1}, {"n": 2}]}"#),
        record(r#"{"id": 2, "tags": [], "at": {}, "rows": []}"#),
    ];
    let cases: [(&str, &[&str]); 9] = [
        ("SELECT s.id, s.at.city FROM S3Object s", &["1,Bern", "2,"]),
        ("SELECT s.tags[1] FROM S3Object s WHERE s.at.city IS NOT MISSING", &["y"]),
        ("SELECT r.n FROM S3Object[*].rows[*] r", &["1", "2"]),
        ("SELECT SUM(r.n) FROM S3Object[*].rows[*] r", &["3"]),
        ("SELECT SIZE(s.tags) FROM S3Object s", &["2", "0"]),
        ("SELECT COUNT(*) FROM S3Object s WHERE s.at.city IS NULL", &["1"]),
        ("SELECT s.id FROM S3Object s WHERE s.id = 2.0", &["2"]),
        ("SELECT s.ID FROM S3Object s LIMIT 1", &["1"]),
        ("SELECT s.tags FROM S3Object s LIMIT 1", &[r#"["x","y"]"#]),
    ];
    for (query, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|row| (*row).to_owned()).collect();
        assert_eq!(run(query, &records), Ok(expected), "{query}");
    }
}
