#include <unistd.h>

#include <filesystem>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "ctl/commands/in_place_run.hpp"
#include "ctl/operands/archive_name.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad::ctl;
using vmad::support::TemporaryDirectory;

namespace {

/// In a directory of its own, and back when the test ends.
class Stay {
  public:
    explicit Stay(const std::string& path) : before_(std::filesystem::current_path()) {
        std::filesystem::current_path(path);
    }
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;
    ~Stay() { std::filesystem::current_path(before_); }

  private:
    std::filesystem::path before_;
};

}  // namespace

TEST_CASE("paths become absolute, and symbolic links stay") {
    const TemporaryDirectory temporary;
    const auto root = std::filesystem::canonical(temporary.path()).string();
    std::filesystem::create_directories(root + "/real/deep/dump");
    std::filesystem::create_directory_symlink("real/deep", root + "/link");
    const Stay stay(root + "/real");
    struct Row {
        std::string path;
        std::string absolute;
    };
    const Row rows[] = {
        {"x.vma", root + "/real/x.vma"},
        {"./x.vma", root + "/real/x.vma"},
        {"a//b/./c/", root + "/real/a/b/c"},
        {".", root + "/real"},
        {"..", root},
        {"../x.vma", root + "/x.vma"},
        {"../link/x.vma", root + "/link/x.vma"},
        {root + "/link/dump/x.vma", root + "/link/dump/x.vma"},
        // The parent of what a link leads to, as open(2) has it, not the directory with the link.
        {root + "/link/../x.vma", root + "/real/x.vma"},
        {"/", "/"},
        {"//x", "/x"},
        {"/../..", "/"},
        {"/../x", "/x"},
        {"..x/...", root + "/real/..x/..."},
    };
    for (const auto& row : rows) CHECK(absolute_path(row.path) == row.absolute);
    CHECK_THROWS_WITH_AS((void)absolute_path(root + "/link/dump/../../link/../x"),
                         ("resolve " + root + "/link/dump/../../link/..: No such file or directory").c_str(),
                         vmad::base::SystemError);
    CHECK_THROWS_WITH_AS((void)absolute_path("nothing/../x"), "resolve nothing/..: No such file or directory",
                         vmad::base::SystemError);
    CHECK_THROWS_WITH_AS((void)absolute_path(""), "empty path", vmad::base::UsageError);
}

TEST_CASE("directories are made as far as they are missing, private") {
    const TemporaryDirectory temporary;
    vmad::io::FileSystem fs;
    const auto path = temporary / "a/b/c";
    CHECK(make_directories(fs, path).path() == path);
    CHECK(make_directories(fs, path + "/").fd() >= 0);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
    temporary.write("file", "");
    CHECK_THROWS_AS((void)make_directories(fs, temporary / "file/x"), vmad::base::SystemError);
}

TEST_CASE("the state directory depends on who asks") {
    if (::geteuid() == 0) {
        const TemporaryDirectory root;
        ::setenv("VMAD_ROOT", root.path().c_str(), 1);
        CHECK(default_state_directory() == "/var/lib/vmad");
        std::filesystem::create_directories(root / "etc/vmad");
        root.write("etc/vmad/vmad.toml", "state_dir = \"/srv/vmad\"\n");
        CHECK(default_state_directory() == "/srv/vmad");
        ::unsetenv("VMAD_ROOT");
        return;
    }
    ::setenv("HOME", "/home/x", 1);
    ::unsetenv("XDG_STATE_HOME");
    CHECK(default_state_directory() == "/home/x/.local/state/vmad");
    ::setenv("XDG_STATE_HOME", "relative", 1);
    CHECK(default_state_directory() == "/home/x/.local/state/vmad");
    ::setenv("XDG_STATE_HOME", "/state", 1);
    CHECK(default_state_directory() == "/state/vmad");
}
