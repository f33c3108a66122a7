use super::Rule;
use crate::expression::{Expression, Scope};
use traffic::Exchange;

/// What a request costs.
pub(crate) enum Cost {
    /// As much as any other.
    Same(u64),
    /// What an expression gives.
    Each(Expression),
}

impl Cost {
    /// What users are told to write.
    pub(crate) const ABOUT: &str = "a number, or an expression that gives one";

    /// Reads a number or an expression; one when there is nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse<'a>(
        text: Option<&str>,
        scope: impl Into<Scope<'a>>,
    ) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::Same(1)) };
        let text = text.trim();
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        match text.parse() {
            Ok(cost) => Ok(Self::Same(cost)),
            Err(_) if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) => {
                Err(format!("a cost is between 0 and {}", u64::MAX))
            }
            Err(_) => Expression::compile_number(text, scope)
                .map(Self::Each)
                .map_err(|message| format!("{message}; a cost is {}", Self::ABOUT)),
        }
    }

    /// Refuses a cost that would never pass one of these limits.
    ///
    /// # Errors
    /// Which limit that is.
    pub(crate) fn check<'a>(
        &self,
        rules: impl IntoIterator<Item = &'a Rule>,
    ) -> Result<(), String> {
        let Self::Same(cost) = self else { return Ok(()) };
        match rules.into_iter().find(|rule| rule.cost_max() < *cost) {
            Some(rule) => {
                Err(format!("nothing that costs {cost} would ever pass {}", rule.limit.rate))
            }
            None => Ok(()),
        }
    }

    /// What this request costs; one where an expression has no answer, and never less, since what it reads is mostly
    /// chosen by whoever would like to call for nothing.
    pub(crate) fn of(&self, exchange: &Exchange) -> u64 {
        match self {
            Self::Same(cost) => *cost,
            Self::Each(expression) => {
                let cost = expression.eval_number(exchange).unwrap_or(1).max(1);
                u64::try_from(cost).unwrap_or(u64::MAX)
            }
        }
    }
}
