//! CONNECT carries what was asked for and nothing else.

use crate::script::scripts;

/// The rest of a `pub` that is accepted.
const DONE: &str = "> 20 { 00 00 «{}» }
    < 30 { <t> «{}» 'm' }
    bye
    exit 0";

macro_rules! connects {
    ($($versions:ident $name:ident: $flags:expr => $connect:expr;)*) => {
        scripts! {$(
            $versions $name: concat!("pub -t t -m m ", $flags)
                => &format!("accept\n< {}\n{DONE}", $connect);
        )*}
    };
}

connects! {
    both nothing_is_added_to_a_plain_connect:
        "" => "10 { <MQTT> «05»‹04› 02 003c «{}» <> }";
    both empty_id_is_a_zero_length_id:
        "-i ''" => "10 { <MQTT> «05»‹04› 02 003c «{}» <> }";
    both id_and_keep_alive_are_taken:
        "-i me -k 300" => "10 { <MQTT> «05»‹04› 02 012c «{}» <me> }";
    both keep_alive_can_be_off_and_largest:
        "-i me -k 0" => "10 { <MQTT> «05»‹04› 02 0000 «{}» <me> }";
    both keep_alive_can_be_the_largest:
        "-i me -k 65535" => "10 { <MQTT> «05»‹04› 02 ffff «{}» <me> }";
    both user_and_password_are_sent:
        "-i me -u us -P pa" => "10 { <MQTT> «05»‹04› c2 003c «{}» <me> <us> <pa> }";
    both user_alone_is_sent:
        "-i me -u us" => "10 { <MQTT> «05»‹04› 82 003c «{}» <me> <us> }";
    both empty_user_and_password_are_sent:
        "-i me -u '' -P ''" => "10 { <MQTT> «05»‹04› c2 003c «{}» <me> <> <> }";
    v5 password_alone_is_sent:
        "-i me -P pa" => "10 { <MQTT> 05 42 003c {} <me> <pa> }";
    v311 persistent_session_has_clean_session_off:
        "-i me -c" => "10 { <MQTT> 04 00 003c <me> }";
    v5 persistent_session_never_expires:
        "-i me -c" => "10 { <MQTT> 05 00 003c { 11 ffffffff } <me> }";
    v5 persistent_session_without_id_is_allowed:
        "-c" => "10 { <MQTT> 05 00 003c { 11 ffffffff } <> }";
    v5 persistent_session_with_expiry:
        "-i me -c -x 3600" => "10 { <MQTT> 05 00 003c { 11 00000e10 } <me> }";
    v5 persistent_session_with_expiry_zero:
        "-i me -c -x 0" => "10 { <MQTT> 05 00 003c { 11 00000000 } <me> }";
    v5 clean_session_with_expiry:
        "-i me -x 10" => "10 { <MQTT> 05 02 003c { 11 0000000a } <me> }";
    v5 clean_session_that_never_expires:
        "-i me -x never" => "10 { <MQTT> 05 02 003c { 11 ffffffff } <me> }";
    both will_without_payload_is_empty:
        "-i me --will-topic w" => "10 { <MQTT> «05»‹04› 06 003c «{}» <me> «{}» <w> 0000 }";
    both will_with_everything:
        "-i me --will-topic w --will-payload gone --will-qos 2 --will-retain"
        => "10 { <MQTT> «05»‹04› 36 003c «{}» <me> «{}» <w> <gone> }";
    both will_stands_before_user_and_password:
        "-i me --will-topic w --will-payload x --will-qos 1 -u us -P pa"
        => "10 { <MQTT> «05»‹04› ce 003c «{}» <me> «{}» <w> <x> <us> <pa> }";
    v5 will_properties_are_sent:
        "-i me --will-topic w -D will will-delay-interval 5 -D will user-property k v"
        => "10 { <MQTT> 05 06 003c {} <me> { 18 00000005 26 <k> <v> } <w> 0000 }";
    v5 receive_maximum_is_sent_when_given:
        "-i me --receive-maximum 5" => "10 { <MQTT> 05 02 003c { 21 0005 } <me> }";
    v5 topic_alias_maximum_is_sent_when_given:
        "-i me --topic-alias-max 7" => "10 { <MQTT> 05 02 003c { 22 0007 } <me> }";
    v5 maximum_packet_size_is_sent_when_given:
        "-i me --max-packet-size 1000" => "10 { <MQTT> 05 02 003c { 27 000003e8 } <me> }";
    v311 limits_of_the_client_are_no_bytes_in_3_1_1:
        "-i me --max-packet-size 1000 --receive-maximum 5 --topic-alias-max 3"
        => "10 { <MQTT> 04 02 003c <me> }";
    v5 connect_properties_are_sent_in_order:
        "-i me -D connect user-property b 1 -D connect request-problem-information 0 -D connect user-property a 2"
        => "10 { <MQTT> 05 02 003c { 26 <b> <1> 17 00 26 <a> <2> } <me> }";
    v5 limits_may_come_as_properties:
        "-i me -D connect receive-maximum 9" => "10 { <MQTT> 05 02 003c { 21 0009 } <me> }";
    v5 expiry_may_come_as_property:
        "-i me -D connect session-expiry-interval 9" => "10 { <MQTT> 05 02 003c { 11 00000009 } <me> }";
    v5 expiry_as_property_wins_over_never:
        "-i me -c -D connect session-expiry-interval 9"
        => "10 { <MQTT> 05 00 003c { 11 00000009 } <me> }";
    both url_names_user_and_password:
        "-i me -L mqtt://u%40x:p%2Fw@127.0.0.1:$PORT"
        => "10 { <MQTT> «05»‹04› c2 003c «{}» <me> <u@x> <p/w> }";
    both flag_wins_over_the_url:
        "-i me -L tcp://u:p@127.0.0.1:$PORT/other -u us"
        => "10 { <MQTT> «05»‹04› c2 003c «{}» <me> <us> <p> }";
}

scripts! {
    both topic_of_the_url_is_published_to: "pub -m m -L mqtt://127.0.0.1:$PORT/a/b" => "
        connect
        < 30 { <a/b> «{}» 'm' }
        bye
        exit 0";
    both topic_of_the_url_is_subscribed: "sub -C 1 -L mqtt://127.0.0.1:$PORT/a/+" => "
        connect
        < 82 { 0001 «{}» <a/+> 00 }
        > 90 { 0001 «{}» 00 }
        > 30 { <a/b> «{}» 'm' }
        bye
        out m
        exit 0";
    v5 disconnect_properties_are_sent: "pub -t t -m m -x 5 -D disconnect reason-string done -D disconnect session-expiry-interval 0" => "
        connect
        ? 30
        < e0 { 00 { 1f <done> 11 00000000 } }
        end
        exit 0";
    both next_url_is_tried_when_the_first_fails:
        "pub -t t -m m -L mqtt://127.0.0.1:1 -L mqtt://127.0.0.1:$PORT --reconnect-initial-ms 1" => "
        connect
        ? 30
        bye
        exit 0";
    both nothing_is_sent_before_connack: "pub -t t -m m -q 1" => "
        accept
        ? 10
        silence 300
        > 20 { 00 00 «{}» }
        ? 32
        > 40 { 0001 }
        bye
        exit 0";
    v5 every_connack_property_is_understood: "pub -t t -m m -q 1" => "
        accept
        ? 10
        > 20 { 00 00 { 11 00000000 21 0064 24 01 25 01 27 00001000 12 <auto> 22 0005 1f <hi> 26 <k> <v> 26 <k> <v> 28 01 29 01 2a 01 13 003c 1a <info> 1c <other> } }
        ? 32
        > 40 { 0001 }
        bye
        exit 0";
    both connack_in_single_bytes_is_understood: "pub -t t -m m" => "
        accept
        ? 10
        >> 20 { 00 00 «{ 12 <auto> 26 <k> <v> }» }
        ? 30
        bye
        exit 0";
    both missing_connack_ends_the_attempt: "sub -t t --timeout 2 --no-reconnect" => "
        accept
        ? 10
        end
        exit 1 CONNACK";
    v5 debug_shows_packets_and_no_password: "sub -t t -d -E -u us -P secret" => "
        connect
        ? 82
        > 90 { 0001 {} 00 }
        bye
        exit 0 received SUBACK";
}
