//! Java's named character properties, as far as ASCII goes, which is all a topic name has.

/// The ASCII characters of a Java character property, as the inside of a class.
pub(crate) fn property(name: &str) -> Option<&'static str> {
    const LETTERS: &str = "A-Za-z";
    const PUNCTUATION: &str = "\\x{21}-\\x{23}\\x{25}-\\x{2a}\\x{2c}-\\x{2f}\\x{3a}\\x{3b}\\x{3f}\\x{40}\
                               \\x{5b}-\\x{5d}\\x{5f}\\x{7b}\\x{7d}";
    let name = name.strip_prefix("general_category=").or(name.strip_prefix("gc=")).unwrap_or(name);
    Some(match name {
        "Lower" | "Ll" | "IsLl" | "IsLowercase" | "javaLowerCase" => "a-z",
        "Upper" | "Lu" | "IsLu" | "IsUppercase" | "javaUpperCase" => "A-Z",
        "Alpha" | "L" | "IsL" | "LC" | "IsAlphabetic" | "IsLetter" | "IsLatin" | "javaAlphabetic"
        | "javaLetter" => LETTERS,
        "Digit" | "N" | "IsN" | "Nd" | "IsNd" | "IsDigit" | "javaDigit" => "0-9",
        "Alnum" | "javaLetterOrDigit" => "0-9A-Za-z",
        "XDigit" | "IsHex_Digit" => "0-9A-Fa-f",
        "ASCII" | "InBasicLatin" | "InBasic_Latin" => "\\x{0}-\\x{7f}",
        "Punct" => "\\x{21}-\\x{2f}\\x{3a}-\\x{40}\\x{5b}-\\x{60}\\x{7b}-\\x{7e}",
        "P" | "IsP" | "IsPunctuation" => PUNCTUATION,
        "Pd" | "IsPd" => "\\x{2d}",
        "Pc" | "IsPc" => "_",
        "Graph" => "\\x{21}-\\x{7e}",
        "Print" => "\\x{20}-\\x{7e}",
        "Blank" => "\\x{9}\\x{20}",
        "Cntrl" | "Cc" | "IsCc" | "IsControl" => "\\x{0}-\\x{1f}\\x{7f}",
        "Space" | "IsWhite_Space" | "javaWhitespace" => "\\x{9}-\\x{d}\\x{20}",
        _ => return None,
    })
}
