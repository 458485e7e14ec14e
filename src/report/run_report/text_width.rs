//! How wide text is in a picture: no font is at hand to measure with.

/// Roughly how wide text is, in parts of the font's size.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(advance).sum()
}

fn advance(character: char) -> f64 {
    match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | '\'' | ':' | ';' | '|' | '!' | ' ' => 0.3,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 0.4,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.9,
        'A'..='Z' | '&' => 0.68,
        // Accents that stand on the letter before them.
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{2066}'..='\u{2069}' => 0.0,
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' => 1.0,
        '\u{ff00}'..='\u{ff60}' | '\u{1f000}'.. => 1.0,
        _ => 0.57,
    }
}

/// Text in one line that is at most `most` wide, its end left out if need be.
pub(super) fn shortened(text: &str, most: f64) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if width(&line) <= most {
        return line;
    }
    let mut room = most - 1.0;
    let fits = |character: &char| {
        room -= advance(*character);
        room >= 0.0
    };
    let short: String = line.chars().take_while(fits).collect();
    format!("{}…", short.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_ends_early() {
        assert_eq!(shortened("short", 10.0), "short");
        assert_eq!(shortened("two\n lines", 10.0), "two lines");
        let short = shortened(&"a".repeat(200), 10.0);
        assert!(
            short.ends_with('…') && short.chars().count() < 20,
            "{short}"
        );
        assert!(width(&short) <= 10.0);
    }
}
