//! What Postgres clients send, and how it is read.
#![allow(clippy::unwrap_used, clippy::panic)]

use datafusion::sql::sqlparser::tokenizer::Token;

use super::*;

fn one(sent: &str) -> PostgresStatement {
    let mut all = from_postgres(sent).unwrap();
    assert_eq!(all.len(), 1, "{sent}: {all:?}");
    all.remove(0)
}

/// The texts in it as our own tokens see them.
fn texts(sent: &str) -> Vec<String> {
    let (tokens, fault) = crate::tokens::tokens(&Text::new(None, &one(sent).text));
    assert!(fault.is_none(), "{sent}: {fault:?}");
    let texts = tokens.into_iter().filter_map(|t| match t.inner.token {
        Token::SingleQuotedString(s) => Some(s),
        _ => None,
    });
    texts.collect()
}

#[test]
fn literals_have_the_value_that_postgres_gives_them() {
    for (sent, want) in [
        (r"SELECT '\' OR 1=1 -- '", vec!["\\"]),
        (r"SELECT 'C:\new\table', 'a\'", vec![r"C:\new\table", r"a\"]),
        (r"SELECT '\'' OR 1=1 -- '", vec![r"\' OR 1=1 -- "]),
        (r"SELECT E'a\'b\\c\n\t\x41\101\u00e9\U0001F600'''", vec!["a'b\\c\n\tAAé😀'"]),
        (r"SELECT e'\xc3\xa9\q\uD83D\uDE00'", vec!["éq😀"]),
        (r"SELECT U&'d\0061t\+000061 \\', u&'!00e9' UESCAPE '!'", vec![r"data \", "é"]),
        (r"SELECT $$it's \' $1 -- $$, $a$ $$ $b$ $a$, $1", vec![r"it's \' $1 -- ", " $$ $b$ "]),
        ("SELECT 'a' -- b\n 'c'", vec!["ac"]),
        ("SELECT N'x\\', 'y'", vec!["x\\", "y"]),
        (r"SELECT '\\', '%\_'", vec![r"\\", r"%\_"]),
        (r"SELECT éE'\', 1E'\', a_e'\'", vec!["\\", "\\", "\\"]),
        ("SELECT 1 -- it's\r, 'a'", vec!["a"]),
        ("SELECT 1 /* ' /* ' */ ' */, 'a'", vec!["a"]),
        ("SELECT \"it's\", `it's`, 'a'", vec!["a"]),
        ("SELECT 'a'$$b$$E'c'", vec!["a", "b", "c"]),
    ] {
        assert_eq!(texts(sent), want, "{sent}");
    }
}

#[test]
fn any_value_comes_through_any_form() {
    let letters = ["\\", "'", "\"", "$", "$$", "E'", "--", "/*", "*/", ";", "\n", "\r", "é", "`"];
    for a in letters {
        for b in letters {
            for c in letters {
                let value = format!("{a}{b}{c}");
                let quoted = value.replace('\'', "''");
                let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
                let unicode = quoted.replace('\\', "\\\\");
                for sent in [
                    format!("SELECT '{quoted}'"),
                    format!("SELECT E'{escaped}'"),
                    format!("SELECT U&'{unicode}'"),
                    format!("SELECT $q${value}$q$"),
                ] {
                    assert_eq!(texts(&sent), [value.as_str()], "{sent}");
                }
            }
        }
    }
}

#[test]
fn statements_and_their_words() {
    let cut = |sent: &str| -> Vec<String> {
        let all = from_postgres(sent).unwrap();
        all.iter().map(|s| sent[s.sent.clone()].to_string()).collect()
    };
    assert_eq!(cut("SELECT 1; SELECT 2;"), ["SELECT 1", "SELECT 2"]);
    assert_eq!(cut(r"SELECT '\'; x"), [r"SELECT '\'", "x"]);
    assert_eq!(cut(r"SELECT E'\';' ; y"), [r"SELECT E'\';'", "y"]);
    assert_eq!(cut("SELECT $$;$$; y"), ["SELECT $$;$$", "y"]);
    assert_eq!(cut("-- a;\nSELECT 1 /* ; */ -- b"), ["SELECT 1"]);
    assert_eq!(cut(" ;; "), Vec::<String>::new());
    let read = one("SELECT \"Pg_x\", a$b FROM t -- pg_y\n WHERE z = 'pg_z'");
    assert_eq!(read.first_words, ["select", "pg_x", "a$b"]);
    assert!(read.words.contains("t") && !read.words.iter().any(|w| w == "pg_y" || w == "pg_z"));
    assert_eq!(one("SELECT 1 -- b").text, "SELECT 1");
    assert_eq!(one("SELECT a$b").text, "SELECT \"a$b\"");
    assert_eq!(one(r"SELECT '\x00fF'::bytea").text, "SELECT  X'00fF' ::bytea");
}

#[test]
fn places_are_those_of_the_client() {
    let sent = r"SELECT 1; SELECT '\', E'\n', wrong FROM t";
    let second = from_postgres(sent).unwrap().remove(1);
    for word in ["SELECT ", "wrong", "FROM", "wrong FROM"] {
        let ours = second.text.find(word).unwrap();
        let want = sent.rfind(word).unwrap();
        assert_eq!(second.sent_at(ours), want, "{word} in {}", second.text);
    }
    assert_eq!(second.sent_at(second.text.len()), sent.len());
}

#[test]
fn what_cannot_be_read_is_said() {
    for (sent, at) in [
        ("SELECT 'a", 7),
        ("SELECT 1; SELECT E'a\\'", 18),
        ("SELECT $a$ b $b$", 7),
        ("SELECT \"a", 7),
        ("SELECT /* /* */", 7),
        ("SELECT $ 1", 7),
        ("SELECT $1a", 7),
        ("SELECT B'01'", 7),
        (r"SELECT E'\xff'", 8),
        (r"SELECT E'\u0000'", 9),
        (r"SELECT E'\uD83D'", 8),
    ] {
        let e = from_postgres(sent).unwrap_err();
        assert_eq!(e.place().unwrap().span.start, at, "{sent}: {e:?}");
    }
}
