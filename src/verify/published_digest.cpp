#include "verify/published_digest.hpp"

#include <nlohmann/json.hpp>

#include "base/json_fields.hpp"
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

std::optional<std::string> published_digest(io::FileSystem& fs, const io::File& file) try {
    const auto text = fs.attribute(file, kAttribute);
    if (!text) return std::nullopt;
    const auto status = fs.status(file);
    const auto value = nlohmann::json::parse(*text, nullptr, false);
    if (!value.is_object()) return std::nullopt;
    base::Fields fields(value, kAttribute);
    const bool is_of_file = fields.get<int>("layout") == canon::kLayoutVersion &&
                            fields.get<std::int64_t>("size") == status.st_size &&
                            fields.get<std::int64_t>("modified") == publish::nanoseconds(status.st_mtim);
    return is_of_file ? std::optional(fields.get<std::string>("digest")) : std::nullopt;
} catch (const base::SystemError&) {
    return std::nullopt;  // some file systems answer EIO for what they do not have
} catch (const base::FieldError&) {
    // Anybody who may write to the file may write anything here: what cannot be read says nothing.
    return std::nullopt;
}

}  // namespace vmad::verify
