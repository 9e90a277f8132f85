// Values PORT: what values.py does, through pgjdbc in each of its query modes. In mode `simple` the
// driver writes the values into the text itself.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.Objects;

public class Values {
    static final String[] VALUES = {
        "C:\\new\\table", "a\\", "\\' OR 1=1 -- ", "\\\\' OR 1=1 -- ", "it's", "100 %",
        "$$ $1 $x$", "; DROP TOPIC t; --", "/* \" ` é", "a\nb\r\n", "\\x00ff", "?", ""
    };

    public static void main(String[] args) throws Exception {
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared"}) {
            String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/any?user=any&preferQueryMode=";
            try (Connection connection = DriverManager.getConnection(url + mode)) {
                for (String value : VALUES) {
                    check(connection, mode, value);
                }
            }
            System.out.println("ok pgjdbc " + mode);
        }
    }

    static void check(Connection connection, String mode, String value) throws Exception {
        same(mode, value, value, one(connection, "SELECT ?", value));
        same(mode, value, null, one(connection, "SELECT s FROM t WHERE s = ?", value));
        String other = "SELECT s FROM t WHERE s <> ? AND id = ?";
        try (PreparedStatement statement = connection.prepareStatement(other)) {
            statement.setString(1, value);
            statement.setInt(2, 1);
            same(mode, value, "plain", first(statement));
        }
    }

    static String one(Connection connection, String query, String value) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            statement.setString(1, value);
            return first(statement);
        }
    }

    static String first(PreparedStatement statement) throws Exception {
        try (ResultSet rows = statement.executeQuery()) {
            return rows.next() ? rows.getString(1) : null;
        }
    }

    static void same(String mode, String value, String want, String got) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError(mode + ": " + value + " gave " + got + ", not " + want);
        }
    }
}
