//! Malformed and forbidden packets: DISCONNECT with the fitting code in MQTT 5, a close in 3.1.1; the
//! offending message is never printed.

use crate::script::{self, Version};

/// After SUBACK these bytes come; in MQTT 5 the answer has this code.
async fn fault(version: Version, bytes: &str, code: &str) {
    let disconnect =
        if version == Version::V5 { format!("< e0 {{ {code} }}") } else { String::new() };
    let script = format!(
        "connect
        ? 82
        > 90 {{ 0001 «{{}}» 02 }}
        > {bytes}
        {disconnect}
        end
        exit 1"
    );
    script::run(version, "sub -t t -q 2 --no-reconnect", &script).await;
}

macro_rules! faults {
    ($($versions:ident $name:ident: $bytes:expr => $code:expr;)*) => {$(
        #[tokio::test(flavor = "current_thread")]
        async fn $name() {
            faults!(@ $versions, $bytes, $code);
        }
    )*};
    (@ both, $bytes:expr, $code:expr) => {
        fault(Version::V5, $bytes, $code).await;
        fault(Version::V311, $bytes, $code).await;
    };
    (@ v5, $bytes:expr, $code:expr) => { fault(Version::V5, $bytes, $code).await; };
    (@ v311, $bytes:expr, $code:expr) => { fault(Version::V311, $bytes, $code).await; };
}

faults! {
    both packet_type_0: "00 {}" => "81";
    both qos_3: "36 { <t> 0001 «{}» 'm' }" => "81";
    both dup_with_qos_0: "38 { <t> «{}» 'm' }" => "81";
    both packet_id_0: "32 { <t> 0000 «{}» 'm' }" => "81";
    both topic_without_its_bytes: "30 { 0009 't' }" => "81";
    both packet_id_missing: "32 { <t> 00 }" => "81";
    both wildcard_in_the_topic: "30 { <a/#> «{}» 'm' }" => "81";
    both nul_in_the_topic: "30 { 0003 'a' 00 'b' «{}» 'm' }" => "81";
    both topic_that_is_not_utf8: "30 { 0001 ff «{}» 'm' }" => "81";
    both surrogate_in_the_topic: "30 { 0003 eda080 «{}» 'm' }" => "81";
    both length_of_five_bytes: "30 ff ff ff ff 01" => "81";
    both pubrel_with_wrong_flags: "60 { 0001 }" => "81";
    both puback_with_flags: "41 { 0001 }" => "81";
    both puback_without_id: "40 { 00 }" => "81";
    both pingresp_with_content: "d0 { 00 }" => "81";
    both suback_with_reserved_code: "90 { 0001 «{}» 03 }" => "82";
    both connect_from_the_server: "10 { <MQTT> «05»‹04› 02 003c «{}» <x> }" => "82";
    both subscribe_from_the_server: "82 { 0001 «{}» <t> 00 }" => "82";
    both pingreq_from_the_server: "c0 {}" => "82";
    both second_connack: "20 { 00 00 «{}» }" => "82";
    v311 type_15_in_3_1_1: "f0 {}" => "";
    v311 disconnect_from_the_server_in_3_1_1: "e0 {}" => "";
    both puback_with_id_0: "40 { 0000 }" => "81";
    both pubrel_with_id_0: "62 { 0000 }" => "81";
    both suback_with_id_0: "90 { 0000 «{}» 00 }" => "81";
    both suback_without_codes: "90 { 0001 «{}» }" => "82";
    both unsuback_too_short: "b0 { 00 }" => "81";
    both connack_too_long: "20 { 00 00 «{}» 00 }" => "81";
    both pubcomp_with_flags: "72 { 0001 }" => "81";
    both suback_with_flags: "91 { 0001 «{}» 00 }" => "81";
    both pingreq_with_flags: "c1 {}" => "81";
    both unsubscribe_from_the_server: "a2 { 0001 «{}» <t> }" => "82";
    v311 puback_with_rest: "40 { 0001 00 }" => "";
    v311 pubrel_with_rest: "62 { 0001 00 }" => "";
    v311 unsuback_with_codes: "b0 { 0001 00 }" => "";
    v5 unknown_reason_code: "40 { 0001 55 }" => "82";
    v5 puback_property_length_too_long: "40 { 0001 00 05 }" => "81";
    v5 reason_string_that_is_not_utf8: "40 { 0001 00 { 1f 0002 c3 28 } }" => "81";
    v5 reason_string_twice: "40 { 0001 00 { 1f <a> 1f <b> } }" => "82";
    v5 user_property_cut_off: "30 { <t> { 26 <k> } 'm' }" => "81";
    v5 property_length_of_five_bytes: "30 { <t> ff ff ff ff 01 'm' }" => "81";
    v5 property_id_0: "30 { <t> { 00 } 'm' }" => "81";
    v5 subscription_identifier_of_five_bytes: "30 { <t> { 0b ff ff ff ff 01 } 'm' }" => "81";
    v5 nul_in_a_property: "30 { <t> { 03 0001 00 } 'm' }" => "81";
    v5 empty_topic_with_unknown_alias: "30 { <> { 23 0001 } 'm' }" => "94";
    v5 empty_topic_without_alias: "30 { <> {} 'm' }" => "82";
    v5 alias_0: "30 { <t> { 23 0000 } 'm' }" => "94";
    v5 alias_above_our_maximum: "30 { <t> { 23 0001 } 'm' }" => "94";
    v5 unknown_property: "30 { <t> { 7f 00 } 'm' }" => "81";
    v5 property_of_another_packet: "30 { <t> { 21 0001 } 'm' }" => "81";
    v5 property_twice: "30 { <t> { 01 00 01 00 } 'm' }" => "82";
    v5 property_length_beyond_the_packet: "30 { <t> 09 01 00 }" => "81";
    v5 property_cut_off: "30 { <t> { 02 0000 } 'm' }" => "81";
    v5 format_indicator_out_of_range: "30 { <t> { 01 02 } 'm' }" => "82";
    v5 subscription_identifier_0: "30 { <t> { 0b 00 } 'm' }" => "82";
    v5 response_topic_with_wildcard: "30 { <t> { 08 <a/+> } 'm' }" => "82";
    v5 reason_code_that_puback_cannot_have: "40 { 0001 01 }" => "82";
    v5 reason_code_that_disconnect_cannot_have: "e0 { 01 }" => "82";
    v5 auth_without_a_method: "f0 { 18 {} }" => "82";
}

/// Instead of CONNACK these bytes come.
macro_rules! bad_connacks {
    ($($versions:ident $name:ident: $bytes:expr => $disconnect:expr;)*) => {
        crate::script::scripts! {$(
            $versions $name: "pub -t t -m m -q 1 --no-reconnect"
                => &format!("accept\n? 10\n> {}\n{}\nend\nexit 1", $bytes, $disconnect);
        )*}
    };
}

bad_connacks! {
    both connack_with_reserved_flags: "20 { 02 00 «{}» }" => "«< e0 { 81 }»";
    both connack_too_short: "20 { 00 }" => "«< e0 { 81 }»";
    both connack_with_fixed_header_flags: "21 { 00 00 «{}» }" => "«< e0 { 81 }»";
    both publish_before_connack: "30 { <t> «{}» 'm' }" => "«< e0 { 82 }»";
    v5 connack_without_property_length: "20 { 00 00 }" => "< e0 { 81 }";
    v5 connack_with_a_method_nobody_named: "20 { 00 00 { 15 <m> } }" => "< e0 { 82 }";
    v5 connack_with_data_without_method: "20 { 00 00 { 16 0001 00 } }" => "< e0 { 82 }";
    v5 connack_with_receive_maximum_0: "20 { 00 00 { 21 0000 } }" => "< e0 { 82 }";
    v5 connack_with_maximum_packet_size_0: "20 { 00 00 { 27 00000000 } }" => "< e0 { 82 }";
    v5 connack_with_maximum_qos_2: "20 { 00 00 { 24 02 } }" => "< e0 { 82 }";
    v5 connack_with_a_property_twice: "20 { 00 00 { 21 0001 21 0001 } }" => "< e0 { 82 }";
    v311 connack_with_unknown_code: "20 { 00 06 }" => "";
}

crate::script::scripts! {
    both suback_with_too_few_codes: "sub -t a -t b --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 }
        «< e0 { 82 }»
        end
        exit 1";
    both suback_with_too_many_codes: "sub -t a --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 00 }
        «< e0 { 82 }»
        end
        exit 1";
    both huge_length_costs_no_memory: "sub -t t -C 1 --reconnect-initial-ms 10" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 ff ff ff 7f
        silence 100
        close
        connect
        ? 82
        > 90 { 0002 «{}» 00 } 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
    both messages_before_the_fault_are_printed: "sub -t t -q 1 --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 32 { <t> 0001 «{}» 'good' } 36 { <t> 0002 «{}» 'bad' }
        out good
        exit 1";
    both command_goes_on_after_a_fault: "sub -t t -C 1 --reconnect-initial-ms 10" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 36 { <t> 0002 «{}» 'bad' }
        «< e0 { 81 }»
        end
        connect
        ? 82
        > 90 { 0002 «{}» 00 } 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
}
