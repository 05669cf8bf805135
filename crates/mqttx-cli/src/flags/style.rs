//! The flags that say what is printed of a message.

use clap::Args;

use crate::output::{Format, Style};

/// What is printed of a message.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct StyleFlags {
    /// Print topic, space, payload
    #[arg(short = 'v', long, conflicts_with_all = ["format", "json"])]
    verbose: bool,

    /// Print in this format: the sequences of mosquitto_sub
    ///
    /// %t topic, %p payload, %x %X payload in hex, %l payload length, %q QoS, %r retain,
    /// %m packet id, %j %J JSON with quoted or verbatim payload, %I time, %U Unix time, %C content
    /// type, %D correlation data, %E expiry, %F payload format, %R response topic, %S subscription
    /// id, %P user properties, %A topic alias, %% a percent sign; with -, 0, width and .precision
    /// as in printf. @Y @m @d @H @M @S @N ... as in strftime. \n \t \0 \a \e \r \v \\.
    #[arg(short = 'F', long, value_name = "FORMAT", conflicts_with = "json",
        allow_hyphen_values = true, value_parser = Format::parse)]
    format: Option<Format>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// No line break after a message
    #[arg(short = 'N', long)]
    pub(crate) no_newline: bool,
}

impl StyleFlags {
    /// How a message is written.
    pub(crate) fn style(&self) -> Style {
        match &self.format {
            Some(format) => Style::Format(format.clone()),
            None if self.json => Style::Json,
            None if self.verbose => Style::Verbose,
            None => Style::Payload,
        }
    }
}
