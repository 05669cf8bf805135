//! `rr`: the request byte for byte, and which message is its response.

use crate::script::scripts;

scripts! {
    v5 subscribes_then_asks_then_prints: "rr -t q -e r -m hi -D publish correlation-data id" => "
        connect
        < 82 { 0001 {} <r> 00 }
        > 90 { 0001 {} 00 }
        < 30 { <q> { 09 <id> 08 <r> } 'hi' }
        > 30 { <r> { 09 <other> } 'not ours' } 30 { <r> {} 'without' } 30 { <r> { 09 <id> } 'ours' }
        out ours
        bye
        exit 0";
    v5 makes_its_own_correlation_data: "rr -t q -e r -n -W 3" => "
        connect
        ? 82
        > 90 { 0001 {} 00 }
        ? 30
        bye
        exit 27";
    v5 qos_2_is_finished_both_ways: "rr -t q -e r -m hi -q 2 -D publish correlation-data id" => "
        connect
        < 82 { 0001 {} <r> 02 }
        > 90 { 0001 {} 02 }
        < 34 { <q> 0002 { 09 <id> 08 <r> } 'hi' }
        > 34 { <r> 0007 { 09 <id> } 'ours' }
        < 50 { 0007 }
        out ours
        > 50 { 0002 } 62 { 0007 }
        < 62 { 0002 }
        < 70 { 0007 }
        > 70 { 0002 }
        bye
        exit 0";
    v5 formats_are_those_of_sub: "rr -t q -e r -m hi -D publish correlation-data id -F %t=%p" => "
        connect
        ? 82
        > 90 { 0001 {} 00 }
        ? 30
        > 30 { <r> { 09 <id> } 'ours' }
        out r=ours
        bye
        exit 0";
    v5 a_request_that_nobody_gets_ends_the_command: "rr -t q -e r -m hi -q 1" => "
        connect
        ? 82
        > 90 { 0001 {} 01 }
        ? 32
        > 40 { 0002 10 }
        bye
        exit 1 nobody subscribes";
    v5 a_refused_request_ends_with_its_code: "rr -t q -e r -m hi -q 1" => "
        connect
        ? 82
        > 90 { 0001 {} 01 }
        ? 32
        > 40 { 0002 87 }
        bye
        exit 135 0x87";
    v5 a_refused_response_topic_ends_with_its_code: "rr -t q -e r -m hi" => "
        connect
        ? 82
        > 90 { 0001 {} 87 }
        ? a2
        bye
        exit 135 r";
    v5 other_messages_of_a_kept_session_stay_with_the_server:
        "rr -t q -e r -m hi -c -i id -D publish correlation-data id" => "
        connect
        < 82 { 0001 {} <r> 00 }
        > 90 { 0001 {} 00 }
        ? 30
        > 30 { <r> { 09 <id> } 'ours' } 32 { <other> 0007 {} 'kept' }
        out ours
        bye
        exit 0";
    v5 the_request_survives_a_reconnect:
        "rr -t q -e r -m hi -q 1 -i id -D publish correlation-data id --reconnect-initial-ms 10" => "
        connect
        < 82 { 0001 {} <r> 01 }
        > 90 { 0001 {} 01 }
        < 32 { <q> 0002 { 09 <id> 08 <r> } 'hi' }
        reset
        connect
        ? 82
        ? 32
        > 40 { 0002 } 90 { 0003 {} 01 } 30 { <r> { 09 <id> } 'ours' }
        out ours
        bye
        exit 0";
    v5 the_whole_command_has_a_time: "rr -t q -e r -m hi --timeout 2" => "
        connect
        ? 82
        bye
        exit 1 no response within 2 s";
    v5 a_signal_ends_it: "rr -t q -e r -m hi" => "
        connect
        ? 82
        > 90 { 0001 {} 00 }
        ? 30
        int
        bye
        exit 1 stopped without a response";
}
