#include "verify/published_digest.hpp"

#include <nlohmann/json.hpp>

#include "canon/layout.hpp"
#include "publish/file_identity.hpp"

namespace vmad::verify {
namespace {

constexpr char kAttribute[] = "user.vmad";

}  // namespace

io::Attributes published_digest_attribute(const canon::Digest& digest, std::uint64_t size_bytes,
                                          const timespec& modified) {
    const nlohmann::json value{{"layout", canon::kLayoutVersion},
                               {"digest", digest.to_hex()},
                               {"size", size_bytes},
                               {"modified", publish::nanoseconds(modified)}};
    return {{kAttribute, value.dump()}};
}

std::optional<std::string> published_digest(io::FileSystem& fs, const io::File& file) {
    const auto text = fs.attribute(file, kAttribute);
    if (!text) return std::nullopt;
    // Anybody who may write to the file may write anything here: what cannot be read says nothing.
    const auto value = nlohmann::json::parse(*text, nullptr, false);
    if (!value.is_object()) return std::nullopt;
    const auto status = fs.status(file);
    const auto says = [&](const char* key, const nlohmann::json& expected) {
        const auto found = value.find(key);
        return found != value.end() && *found == expected;
    };
    const auto digest = value.find("digest");
    if (!says("layout", canon::kLayoutVersion) || !says("size", status.st_size) ||
        !says("modified", publish::nanoseconds(status.st_mtim)) || digest == value.end() ||
        !digest->is_string())
        return std::nullopt;
    return digest->get<std::string>();
}

}  // namespace vmad::verify
