//! The same claims over every transport and through every proxy, and what broken and hostile peers may do.

#[macro_use]
mod ways;

mod behaviour;
mod hostile;
mod layers;
