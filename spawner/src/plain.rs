//! What a terminal was told, as text (pure): without the sequences that colour it, move its cursor or set its title, by
//! ECMA-48 and what terminals make of it.

/// Begins every sequence.
const ESCAPE: char = '\u{1b}';
/// Ends a string, such as a title; so does `ESC \`.
const BELL: char = '\u{7}';
/// Ends a string as one control of eight bits.
const STRING_END: char = '\u{9c}';

/// The text without its sequences; one that has no end goes to the end of its line.
pub(crate) fn text(told: &str) -> String {
    let mut plain = String::with_capacity(told.len());
    let mut rest = told.chars().peekable();
    while let Some(character) = rest.next() {
        let kind = match character {
            ESCAPE => rest.next_if(|next| *next != '\n'),
            // The same kinds as one control of eight bits.
            '\u{9b}' => Some('['),
            '\u{9d}' => Some(']'),
            '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => Some('P'),
            plain_one => {
                plain.push(plain_one);
                continue;
            }
        };
        match kind {
            Some('[') => {
                while rest.next_if(|next| matches!(next, ' '..='?')).is_some() {}
                rest.next_if(|next| matches!(next, '@'..='~'));
            }
            Some(']' | 'P' | 'X' | '^' | '_') => {
                while let Some(inside) = rest.next_if(|next| *next != '\n') {
                    if matches!(inside, BELL | STRING_END) || inside == ESCAPE && rest.next_if_eq(&'\\').is_some() {
                        break;
                    }
                }
            }
            Some(' '..='/') => {
                while rest.next_if(|next| matches!(next, ' '..='/')).is_some() {}
                rest.next_if(|next| matches!(next, '0'..='~'));
            }
            // It stands alone.
            Some(_) | None => (),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        for (told, expect) in [
            ("plain ż\tand\r\nmore", "plain ż\tand\r\nmore"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}[?2004h\u{1b}[2J\u{1b}[Hat home", "at home"),
            ("\u{9b}31mred\u{9d}title\u{9c}!", "red!"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "alink"),
            ("\u{1b}P1$r0m\u{1b}\\done\u{1b}_x\u{1b}\\", "done"),
            ("\u{1b}(Bascii\u{1b}7saved\u{1b}=", "asciisaved"),
            ("\u{1b}]no end\nnext\u{1b}\nlast\u{1b}[31", "\nnext\nlast"),
            ("cut\u{1b}[3\nnext\u{1b}", "cut\nnext"),
        ] {
            assert_eq!(text(told), expect, "{told:?}");
        }
    }
}
