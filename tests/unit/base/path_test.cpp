#include "base/path.hpp"

#include <doctest/doctest.h>

using namespace vmad::base;

TEST_CASE("an absolute path has one spelling, any other stays") {
    CHECK(normal_path("/a//b/./c.vma") == "/a/b/c.vma");
    CHECK(normal_path("///a/.") == "/a");
    CHECK(normal_path("/a/b/") == "/a/b");
    CHECK(normal_path("/") == "/");
    CHECK(normal_path("//.//") == "/");
    CHECK(normal_path("/.hidden/..b") == "/.hidden/..b");
    CHECK(normal_path("/a/../b") == "/a/../b");
    CHECK(normal_path("relative//x") == "relative//x");
    CHECK(normal_path("").empty());
}

TEST_CASE("the components of a path") {
    using Components = std::vector<std::string>;
    CHECK(path_components("/a//b/./../c/") == Components{"a", "b", "..", "c"});
    CHECK(path_components("a/b") == Components{"a", "b"});
    CHECK(path_components("/").empty());
    CHECK(path_components("").empty());
    CHECK(has_component("/a/../b", ".."));
    CHECK(has_component("..", ".."));
    CHECK(has_component("/a/.", "."));
    CHECK_FALSE(has_component("/a/..b/c..", ".."));
    CHECK(file_name("/a/b.vma") == "b.vma");
    CHECK(file_name("b.vma") == "b.vma");
    CHECK(file_name("/a/").empty());
}

TEST_CASE("below a directory is whoever has all its components, and more") {
    CHECK(is_below("/a/b/c", "/a/b"));
    CHECK(is_below("/a//b/c", "/a/./b/"));
    CHECK(is_below("/a", "/"));
    CHECK(is_below("/a/b/c", "/a"));
    CHECK_FALSE(is_below("/a/b", "/a/b"));
    CHECK_FALSE(is_below("/a/bc", "/a/b"));
    CHECK_FALSE(is_below("/a", "/a/b"));
    CHECK_FALSE(is_below("/", "/"));
    CHECK_FALSE(is_below("a/b", "a"));
    CHECK_FALSE(is_below("/a/b", "a"));
    CHECK_FALSE(is_below("a/b", "/a"));
    CHECK_FALSE(is_below("/a/b", ""));
}
