//! Names of functions as people write them.

/// Longer ones are cut: a generic name can grow to kilobytes, and a report has a line for it.
const CHARS_MAX: usize = 200;

/// Demangled, without the hash. The symbol is a stranger's: what is not printable is left out.
pub(crate) fn readable(symbol: &[u8]) -> String {
    /// Beyond this, demangling could cost more than the name is worth.
    const SYMBOL_BYTES_MAX: usize = 4 * 1024;
    let symbol = String::from_utf8_lossy(&symbol[..symbol.len().min(SYMBOL_BYTES_MAX)]);
    let name = match rustc_demangle::try_demangle(&symbol) {
        Ok(demangled) => format!("{demangled:#}"),
        Err(_) => symbol.into_owned(),
    };
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    if let Some((end, _)) = name.char_indices().nth(CHARS_MAX) {
        name.truncate(end);
        name.push('…');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn says_names_as_people_write_them() {
        let check = |symbol: &str, expect: &str| assert_eq!(readable(symbol.as_bytes()), expect);
        check("_ZN1a5drive17h417b0108b1cb8888E", "a::drive");
        check("_ZN33_$LT$a..A$u20$as$u20$a..Shape$GT$4area17he2337465c7f7f623E", "<a::A as a::Shape>::area");
        check(
            "_RNvMs_NtCsgEmfK2I1SDS_4core3fmtNtB4_17FormattingOptions8get_fill",
            "<core::fmt::FormattingOptions>::get_fill",
        );
        check("memcpy", "memcpy");
        check("two\u{1b}[1m\nlines", "two[1mlines");
        check(&"x".repeat(1_000), &format!("{}…", "x".repeat(200)));
    }
}
