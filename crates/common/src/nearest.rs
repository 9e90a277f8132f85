//! "Did you mean …": the known name nearest to an unknown one.

/// The candidate that a person most probably meant, if any is near enough to be worth naming.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&name, &c.to_lowercase()), c))
        .filter(|(distance, c)| {
            *distance <= (c.chars().count().max(name.chars().count()) / 3).max(1)
        })
        // A forgotten letter is likelier than one too many.
        .min_by_key(|(distance, c)| (*distance, std::cmp::Reverse(c.len()), *c))
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn names_the_near_and_not_the_far() {
        let known = ["readings", "minute_avg", "plays"];
        assert_eq!(nearest("reading", known), Some("readings"));
        assert_eq!(nearest("minut_avg", known), Some("minute_avg"));
        assert_eq!(nearest("PLAYS", known), Some("plays"));
        assert_eq!(nearest("orders", known), None);
        assert_eq!(nearest("cout", ["cot", "count"]), Some("count"));
    }
}
