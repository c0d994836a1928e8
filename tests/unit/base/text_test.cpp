#include "base/text.hpp"

#include <random>

#include <doctest/doctest.h>

using namespace vmad::base;

TEST_CASE("control characters, what turns the direction, and what is no UTF-8 are escaped") {
    struct Row {
        std::string text;
        const char* bytes;
        const char* unicode;
    };
    const Row rows[] = {
        {"plain \\ \"text\" äö 漢 😀", "plain \\ \"text\" äö 漢 😀", "plain \\ \"text\" äö 漢 😀"},
        {"a\tb\n\x1b[2J\x7f", "a\\x09b\\x0a\\x1b[2J\\x7f", "a\\u0009b\\u000a\\u001b[2J\\u007f"},
        {"\u0085\u009b", "\\xc2\\x85\\xc2\\x9b", "\\u0085\\u009b"},
        {"\u00a0", "\u00a0", "\u00a0"},
        {"\u202egpj\u202c", "\\xe2\\x80\\xaegpj\\xe2\\x80\\xac", "\\u202egpj\\u202c"},
        {"\u202a\u2066\u2069", "\\xe2\\x80\\xaa\\xe2\\x81\\xa6\\xe2\\x81\\xa9", "\\u202a\\u2066\\u2069"},
        {"\u200e\u200f\u061c", "\\xe2\\x80\\x8e\\xe2\\x80\\x8f\\xd8\\x9c", "\\u200e\\u200f\\u061c"},
        {"\u200d\u2010\u2029\u202f\u2065\u206a", "\u200d\u2010\u2029\u202f\u2065\u206a",
         "\u200d\u2010\u2029\u202f\u2065\u206a"},
        {"\xff\xc3", "\\xff\\xc3", "\\ufffd\\ufffd"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xc0\x80", "\\xc0\\x80", "\\ufffd\\ufffd"},
    };
    for (const auto& row : rows) {
        CHECK(printable(row.text) == row.bytes);
        CHECK(printable_unicode(row.text) == row.unicode);
    }
    CHECK(printable(std::string("\0", 1)) == "\\x00");
}

TEST_CASE("well-formed UTF-8 is known") {
    for (const auto* text : {"", "a", "\t\x7f", "ä", "\u0800", "\uffff", "\U00010000", "\U0010ffff"})
        CHECK(is_utf8(text));
    for (const auto* text : {"\x80", "\xc3", "\xc3(", "\xc0\xaf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                             "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "a\xe2\x82"})
        CHECK_FALSE(is_utf8(text));
}

TEST_CASE("law: what is printable is UTF-8, and stays as it is") {
    std::mt19937 random(1);
    for (int i = 0; i < 10'000; ++i) {
        std::string text;
        for (auto size = random() % 8; size > 0; --size) text += static_cast<char>(random());
        for (const auto& shown : {printable(text), printable_unicode(text)}) {
            CHECK(is_utf8(shown));
            CHECK(printable(shown) == shown);
        }
    }
}
