// A directory for one test, gone with everything in it when the test ends.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>

namespace vmad::support {

class TemporaryDirectory {
  public:
    /// Below `base`: by default where the system keeps temporary files.
    explicit TemporaryDirectory(const std::string& base = std::filesystem::temp_directory_path().string())
        : path_(base + "/vmad-test-XXXXXX") {
        if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    /// In memory where that can be: for tests with thousands of fsyncs.
    [[nodiscard]] static std::string fast_base() {
        return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path().string();
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

    void write(const std::string& name, const std::string& content) const {
        std::ofstream out(*this / name, std::ios::binary | std::ios::trunc);
        out << content;
        if (!out.flush()) throw std::runtime_error("cannot write " + (*this / name));
    }
    void remove(const std::string& name) const { std::filesystem::remove(*this / name); }
    void append(const std::string& name, const std::string& content) const {
        std::ofstream(*this / name, std::ios::binary | std::ios::app) << content;
    }
    [[nodiscard]] std::string read(const std::string& name) const {
        std::ifstream in(*this / name, std::ios::binary);
        if (!in) throw std::runtime_error("cannot read " + (*this / name));
        std::string text(std::filesystem::file_size(*this / name), '\0');
        in.read(text.data(), static_cast<std::streamsize>(text.size()));
        return text;
    }
    [[nodiscard]] bool has(const std::string& name) const {
        struct stat status {};
        return ::lstat((*this / name).c_str(), &status) == 0;
    }
    [[nodiscard]] std::set<std::string> names() const {
        std::set<std::string> result;
        for (const auto& entry : std::filesystem::directory_iterator(path_))
            result.insert(entry.path().filename().string());
        return result;
    }
    void set_modified(const std::string& name, timespec modified) const {
        const timespec times[2] = {{0, UTIME_OMIT}, modified};
        if (::utimensat(AT_FDCWD, (*this / name).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
            throw std::runtime_error("utimensat " + name);
    }

  private:
    std::string path_;
};

}  // namespace vmad::support
