//! What `sub` writes, end to end.

use crate::script::scripts;

scripts! {
    both line_break_can_be_left_out: "sub -t t -N -C 3" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» 'a' } 30 { <t> «{}» 'b' } 30 { <t> «{}» 0a }
        out ab
        bye
        exit 0";
    both empty_payload_is_an_empty_line: "sub -t t -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» } 30 { <t> «{}» 'x' }
        out
        out x
        bye
        exit 0";
    both format_is_applied: "sub -t t -C 1 -q 1 -F '%t|%q|%r|%l|%m|%x|%%\\t%p'" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 33 { <t/u> 00ff «{}» 'hi' }
        out t/u|1|1|2|255|6869|%\thi
        ? 40
        bye
        exit 0";
    v5 format_shows_properties: "sub -t t -C 1 -F '%C|%R|%E|%F|%P|%S|%D'" => "
        connect
        ? 82
        > 90 { 0001 {} 00 } 30 { <t> { 01 01 02 0000000a 03 <text> 08 <r> 09 <cd> 0b 05 26 <k> <v> 26 <l> <w> } 'x' }
        out text|r|10|1|k:v l:w|5|cd
        bye
        exit 0";
    both json_is_one_object_a_line: "sub -t t -i me -C 2 -q 2 --json" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 30 { <t> «{}» 'a' } 3d { <t> 0003 «{}» ff }
        out {\"session\":\"me\",\"topic\":\"t\",\"qos\":0,\"retain\":false,\"dup\":false,\"packet_id\":null,\"payload\":\"a\"}
        out {\"session\":\"me\",\"topic\":\"t\",\"qos\":2,\"retain\":true,\"dup\":true,\"packet_id\":3,\"payload_base64\":\"/w==\"}
        < 50 { 0003 }
        > 62 { 0003 }
        < 70 { 0003 }
        bye
        exit 0";
    v5 json_has_the_properties: "sub -t t -i me -C 1 --json" => "
        connect
        ? 82
        > 90 { 0001 {} 00 } 30 { <t> { 03 <text> 26 <k> <v> 26 <k> <w> } 'a' }
        out {\"session\":\"me\",\"topic\":\"t\",\"qos\":0,\"retain\":false,\"dup\":false,\"packet_id\":null,\"payload\":\"a\",\"properties\":{\"content-type\":\"text\",\"user-properties\":[[\"k\",\"v\"],[\"k\",\"w\"]]}}
        bye
        exit 0";
    both payload_that_is_not_json_is_said: "sub -t t -C 1 -F '<%J>'" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» '{' }
        out <>
        bye
        exit 0 not valid JSON, topic t";
}
