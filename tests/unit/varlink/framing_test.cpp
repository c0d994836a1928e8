#include "varlink/framing.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/json_fields.hpp"
#include "varlink/protocol.hpp"

using namespace vmad::varlink;
using nlohmann::json;

namespace {

/// All messages in `stream`, taken as soon as they are there; "!" stands for "too long".
std::vector<std::string> split(const std::string& stream, const std::vector<std::size_t>& portions) {
    MessageSplitter splitter;
    std::vector<std::string> messages;
    std::size_t at = 0;
    try {
        for (const std::size_t portion : portions) {
            splitter.add(std::string_view(stream).substr(at, portion));
            at = std::min(at + portion, stream.size());
            while (auto message = splitter.next()) messages.push_back(std::move(*message));
        }
    } catch (const ProtocolError& error) {
        CHECK(std::string(error.what()) == "message is longer than 1048576 bytes");
        messages.emplace_back("!");
    }
    return messages;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("law: however a stream is portioned, its messages are the same") {
    std::mt19937 random(1);
    for (int round = 0; round < 300; ++round) {
        std::string stream;
        std::vector<std::string> expected;
        for (auto left = random() % 8; left > 0; --left) {
            std::string message(random() % 40, 'x');
            for (char& c : message) c = static_cast<char>('a' + random() % 26);
            stream += message;
            stream.push_back('\0');
            expected.push_back(std::move(message));
        }
        stream.append(random() % 5, 'r');  // a rest that never ends
        std::vector<std::size_t> portions;
        for (std::size_t left = stream.size(); left > 0; left -= portions.back())
            portions.push_back(1 + random() % std::min<std::size_t>(left, 1 + random() % 20));
        CHECK(split(stream, portions) == expected);
        CHECK(split(stream, std::vector<std::size_t>(stream.size(), 1)) == expected);
        CHECK(split(stream, {stream.size()}) == expected);
    }
}

TEST_CASE("the limit of a message is exact, and what came before it is not lost") {
    const std::string longest(kMaxMessageBytes, 'x');
    const std::string first = "first";
    const auto stream = [&](const std::string& last, bool ended) {
        return first + '\0' + last + (ended ? std::string(1, '\0') : std::string());
    };
    for (const std::size_t portion : {std::size_t{1000}, std::size_t{65536}, 3 * kMaxMessageBytes}) {
        const std::vector<std::size_t> portions(2 * kMaxMessageBytes / portion + 1, portion);
        const auto messages = split(stream(longest, true), portions);
        REQUIRE(messages.size() == 2);
        CHECK(messages[1].size() == kMaxMessageBytes);
        const std::vector<std::string> refused{first, "!"};
        CHECK(split(stream(longest, false), portions) == std::vector<std::string>{first});
        CHECK(split(stream(longest + 'x', true), portions) == refused);
        CHECK(split(stream(longest + 'x', false), portions) == refused);
    }
}

TEST_CASE("empty messages and other terminators") {
    CHECK(split(std::string(3, '\0'), {3}) == std::vector<std::string>{"", "", ""});
    MessageSplitter lines('\n');
    CHECK(lines.empty());
    lines.add("a\nb");
    CHECK(lines.ready());
    CHECK(lines.next() == "a");
    CHECK_FALSE(lines.ready());
    CHECK(lines.next() == std::nullopt);
    CHECK_FALSE(lines.empty());
    lines.add("\n");
    CHECK(lines.size() > 0);
    CHECK(lines.next() == "b");
    CHECK(lines.empty());
    CHECK(lines.size() == 0);
}

TEST_CASE("the depth of a message is limited before it is parsed") {
    CHECK(parse_message(nested(vmad::base::kMaxJsonDepth)).is_array());
    CHECK_THROWS_WITH_AS(static_cast<void>(parse_message(nested(vmad::base::kMaxJsonDepth + 1))),
                         "message nests deeper than 32 levels", ProtocolError);
    CHECK_THROWS_WITH_AS(static_cast<void>(parse_message(std::string(kMaxMessageBytes, '['))),
                         "message nests deeper than 32 levels", ProtocolError);
    // Brackets in strings, behind escaped quotes too, do not count; siblings do not add up.
    CHECK(parse_message(json(std::string(100, '[') + "\\\"[" + std::string(100, '{')).dump()).is_string());
    std::string siblings = "[";
    for (int i = 0; i < 100; ++i) siblings += "[{}],";
    CHECK(parse_message(siblings + "0]").size() == 101);
}

TEST_CASE("the largest calls that anybody needs pass") {
    json ids = json::array();
    for (int i = 0; i < 10'000; ++i) ids.push_back(4'000'000'000 + i);
    json paths = json::array();
    for (int i = 0; i < 1000; ++i) paths.push_back("/" + std::string(1000, 'x') + std::to_string(i));
    for (const auto& [name, list] : {std::pair("ids", ids), std::pair("paths", paths)}) {
        std::string bytes = frame_message(Call{"org.test.Wait", {{name, list}}, true, false});
        bytes.pop_back();
        CHECK(parse_message(bytes).get<Call>().parameters.at(name) == list);
    }
}

TEST_CASE("what is not JSON is refused with one message") {
    for (const std::string text : {"", " ", "{", "}", "[1,]", "{\"a\":1,}", "{a:1}", "nul", "1 2", "\"\xff\"",
                                   "\"\xc3\"", "'a'", "\"\\", "]]]]", "// comment\n1", "NaN", "\"\x01\""}) {
        CAPTURE(std::string(text));
        CHECK_THROWS_WITH_AS(static_cast<void>(parse_message(text)), "message is not valid JSON",
                             ProtocolError);
    }
    CHECK_THROWS_AS(static_cast<void>(parse_message(std::string("1\0", 2))), ProtocolError);
}

TEST_CASE("a framed message ends with its terminator, is UTF-8, and has a limit") {
    CHECK(frame_message({{"a", 1}}) == std::string("{\"a\":1}\0", 8));
    CHECK(frame_message(json("a\nb"), '\n') == "\"a\\nb\"\n");
    CHECK(frame_message(json(std::string("nul\0", 4))) == std::string("\"nul\\u0000\"\0", 12));
    CHECK(frame_message(json("l\xe4tin")) == std::string("\"l\xef\xbf\xbdtin\"\0", 10));
    CHECK(frame_message(json(std::string(kMaxMessageBytes - 2, 'x'))).size() == kMaxMessageBytes + 1);
    CHECK_THROWS_WITH_AS(static_cast<void>(frame_message(json(std::string(kMaxMessageBytes - 1, 'x')))),
                         "message is longer than 1048576 bytes", ProtocolError);
}
